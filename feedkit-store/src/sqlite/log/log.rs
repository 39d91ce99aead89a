//! The log: topics with partitions, to which records are appended.

use std::sync::Arc;

use feedkit_core::{Clock, Positions, Result, Timestamp};
use rusqlite::Connection;

use super::options::SourceOptions;
use super::shared::Shared;
use super::sink::SqliteSink;
use super::source::SqliteSource;
use super::topic::{RETAIN_ROWS, Table};
use crate::sqlite::database::Database;

/// The log of a data directory: a few topics, each with a fixed number of partitions. Clones are
/// the same log.
#[derive(Debug, Clone)]
pub struct SqliteLog {
    shared: Arc<Shared>,
}

impl SqliteLog {
    /// Opens the log in `database`. Makes its topics, with `partitions` partitions each, if they do
    /// not exist.
    pub(crate) async fn open(
        database: Arc<Database>,
        partitions: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<SqliteLog> {
        Ok(SqliteLog { shared: Arc::new(Shared::open(database, partitions, clock).await?) })
    }

    /// Returns a sink that appends to `topic`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if there is no such topic.
    pub fn sink(&self, topic: &str) -> Result<SqliteSink> {
        let topic = self.shared.topic(topic)?;
        Ok(SqliteSink::new(Arc::clone(&self.shared), topic))
    }

    /// Returns a source that reads `topic` as a member of `group`. The members of a group, all in
    /// this process, share the partitions. A single member gets all of them.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if there is no such topic.
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal) if this process may only read.
    pub async fn member(&self, topic: &str, group: &str, options: SourceOptions) -> Result<SqliteSource> {
        SqliteSource::member(Arc::clone(&self.shared), self.shared.topic(topic)?, group, options).await
    }

    /// Returns a source that reads all partitions of `topic`, independently of all others.
    /// [`positions_at`](Self::positions_at) gives the positions of a time, to begin there.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if there is no such topic.
    pub async fn broadcast(&self, topic: &str, options: SourceOptions) -> Result<SqliteSource> {
        SqliteSource::broadcast(Arc::clone(&self.shared), self.shared.topic(topic)?, options).await
    }

    /// Returns the number of partitions of `topic`.
    pub fn partitions(&self, topic: &str) -> Result<u32> {
        let count = self.shared.topic(topic)?.tables.len();
        Ok(u32::try_from(count).expect("the count was stored as 32 bits"))
    }

    /// Returns the log's incarnation. A new directory has another one.
    pub fn incarnation(&self) -> u128 {
        self.shared.incarnation
    }

    /// Returns the next offset to write, for every partition of `topic`.
    pub async fn ends(&self, topic: &str) -> Result<Positions> {
        self.shared.ends(self.shared.topic(topic)?).await
    }

    /// Returns, for every partition, the offset of the first record that was appended at `time` or
    /// later. If there is none, it is the next offset to write.
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

    /// Drops the records before `positions`, and returns how many it dropped. Their space is used
    /// again once all records that were appended with them are dropped. Their offsets are never
    /// used again.
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

    /// Drops the records that were appended before `time`, except those at or after `read`, which
    /// somebody still has to read.
    pub async fn retain_since(&self, topic: &str, time: Timestamp, read: &Positions) -> Result<u64> {
        let young = self.positions_at(topic, time).await?;
        let before = young.iter().map(|(partition, offset)| (partition, offset.min(read.of(partition))));
        self.retain(topic, &before.collect()).await
    }
}
