//! When each replayed source was first seen. Lines without an id get one that is derived from this
//! time.

use feedkit_core::{Result, Timestamp};
use rusqlite::{Connection, params};

use super::failure::Sql;
use super::store::Sqlite;

impl Sqlite {
    /// Returns when the source `name` was first seen. If it never was, stores and returns `now`.
    ///
    /// # Cancellation
    ///
    /// The time may have been stored. It then never changes.
    pub async fn first_seen(&self, name: &str, now: Timestamp) -> Result<Timestamp> {
        let name = name.to_owned();
        let note = move |connection: &Connection| -> Sql<i64> {
            connection.execute(
                "INSERT OR IGNORE INTO replay_sources (name, first_seen) VALUES (?1, ?2)",
                params![name, now.as_millis()],
            )?;
            let select = "SELECT first_seen FROM replay_sources WHERE name = ?1";
            Ok(connection.query_row(select, [&name], |row| row.get(0))?)
        };
        self.state.write(1, note).await.map(Timestamp::from_millis)
    }
}
