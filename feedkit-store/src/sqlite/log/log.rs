//! The log: topics of partitions, into which records are appended.

use std::sync::Arc;

use feedkit_core::{Clock, Positions, Result, Timestamp};
use rusqlite::Connection;

use super::options::SourceOptions;
use super::shared::Shared;
use super::sink::SqliteSink;
use super::source::SqliteSource;
use super::topic::{RETAIN_ROWS, Table};
use crate::sqlite::database::Database;

/// The log of a data directory: a few topics, each of a fixed number of partitions. Clones are the same log.
#[derive(Debug, Clone)]
pub struct SqliteLog {
    shared: Arc<Shared>,
}

impl SqliteLog {
    /// The log in `database`; makes its topics, of `partitions` partitions each, if they are not there.
    pub(crate) async fn open(
        database: Arc<Database>,
        partitions: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<SqliteLog> {
        Ok(SqliteLog { shared: Arc::new(Shared::open(database, partitions, clock).await?) })
    }

    /// Where records of `topic` go in.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): there is no such topic.
    pub fn sink(&self, topic: &str) -> Result<SqliteSink> {
        let topic = self.shared.topic(topic)?;
        Ok(SqliteSink::new(Arc::clone(&self.shared), topic))
    }

    /// Reads `topic` as a member of `group`. The members, all of them in this process, share its partitions out
    /// among themselves; a single one is assigned every partition.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): there is no such topic.
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal): this process may only read.
    pub async fn member(&self, topic: &str, group: &str, options: SourceOptions) -> Result<SqliteSource> {
        SqliteSource::member(Arc::clone(&self.shared), self.shared.topic(topic)?, group, options).await
    }

    /// Reads `topic` beside all others: each broadcast reader is assigned every partition.
    /// [`positions_at`](Self::positions_at) tells where to resume to begin at some time.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): there is no such topic.
    pub async fn broadcast(&self, topic: &str, options: SourceOptions) -> Result<SqliteSource> {
        SqliteSource::broadcast(Arc::clone(&self.shared), self.shared.topic(topic)?, options).await
    }

    /// The partitions of `topic`.
    pub fn partitions(&self, topic: &str) -> Result<u32> {
        let count = self.shared.topic(topic)?.tables.len();
        Ok(u32::try_from(count).expect("the count was stored as 32 bits"))
    }

    /// The log's incarnation: another one when the directory was made anew.
    pub fn incarnation(&self) -> u128 {
        self.shared.incarnation
    }

    /// The next offset to be written of every partition of `topic`.
    pub async fn ends(&self, topic: &str) -> Result<Positions> {
        self.shared.ends(self.shared.topic(topic)?).await
    }

    /// Of every partition the offset of the first record held that was taken in at `time` or later; where there is
    /// none, the next offset to be written.
    pub async fn positions_at(&self, topic: &str, time: Timestamp) -> Result<Positions> {
        let topic = self.shared.topic(topic)?;
        self.shared
            .database
            .read(move |connection| {
                let at = |table: &Table| Ok((table.partition, table.position_at(connection, &topic, time)?));
                topic.tables.iter().map(at).collect()
            })
            .await
    }

    /// Drops the records that lie before `positions`, and returns how many went. Their space is used again once all
    /// that was appended together with them is dropped; their offsets are not.
    pub async fn retain(&self, topic: &str, positions: &Positions) -> Result<u64> {
        let topic = self.shared.topic(topic)?;
        let mut dropped = 0;
        for place in 0..topic.tables.len() {
            let before = positions.of(topic.tables[place].partition);
            loop {
                let topic = Arc::clone(&topic);
                let job =
                    move |connection: &Connection| topic.tables[place].retain(connection, &topic, before);
                let (records, more) = self.shared.database.write(RETAIN_ROWS, job).await?;
                dropped += records;
                if !more {
                    break;
                }
            }
        }
        Ok(dropped)
    }

    /// Drops records taken in before `time`, but none at or after `read`, which somebody still has to read.
    pub async fn retain_since(&self, topic: &str, time: Timestamp, read: &Positions) -> Result<u64> {
        let young = self.positions_at(topic, time).await?;
        let before = young.iter().map(|(partition, offset)| (partition, offset.min(read.of(partition))));
        self.retain(topic, &before.collect()).await
    }
}
