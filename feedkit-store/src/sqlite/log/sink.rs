//! Appending to a topic of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::sink::NewRecord;
use feedkit_core::{Error, EventSink, Offset, Position, Result, Timestamp};
use rusqlite::Connection;
use xxhash_rust::xxh3::xxh3_64;

use super::record_batch::{Encoder, RecordBatch};
use super::shared::Shared;
use super::topic::Topic;
use crate::sqlite::failure::Sql;

/// Maximum size of a record's key and value together, in bytes.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// Appends to one topic of a [`SqliteLog`](super::SqliteLog).
///
/// Sends that wait at the same time are committed and synced together. A record's partition is the
/// XXH3 hash of its key, modulo the number of partitions. Records without a key go to each
/// partition in turn.
#[derive(Debug)]
pub struct SqliteSink {
    log: Arc<Shared>,
    topic: Arc<Topic>,
    /// The number of records without a key so far.
    turn: AtomicU64,
}

impl SqliteSink {
    pub(crate) fn new(log: Arc<Shared>, topic: Arc<Topic>) -> SqliteSink {
        SqliteSink { log, topic, turn: AtomicU64::new(0) }
    }
}

#[async_trait]
impl EventSink for SqliteSink {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        let (rows, places) = self.encode(&batch);
        let written = if rows.is_empty() {
            Ok(Vec::new())
        } else {
            let topic = Arc::clone(&self.topic);
            self.log.database.write(batch.len(), move |connection| append(connection, &topic, rows)).await
        };
        let position = |place: Result<Place>| {
            let place = place?;
            match &written {
                Ok(bases) => Ok(Position {
                    partition: self.topic.tables[place.table].partition,
                    offset: bases[place.table] + place.nth + 1,
                }),
                Err(error) => Err(Error::new(error.kind(), error.to_string())),
            }
        };
        places.into_iter().map(position).collect()
    }

    async fn flush(&self) -> Result<()> {
        // The writer runs jobs in order, and answers in order.
        self.log.database.write(0, |_| Ok(())).await
    }
}

/// The partition of a record, and its number among the records of this send there.
struct Place {
    table: usize,
    nth: u64,
}

/// The rows of one partition.
struct Append {
    table: usize,
    time: Timestamp,
    rows: Vec<RecordBatch>,
}

impl SqliteSink {
    /// Encodes a batch. The sender does this, so that the writing thread need not.
    fn encode(&self, batch: &[NewRecord]) -> (Vec<Append>, Vec<Result<Place>>) {
        let time = self.log.now();
        let mut encoders: Vec<(Encoder, u64)> = Vec::new();
        encoders.resize_with(self.topic.tables.len(), Default::default);
        let places = batch
            .iter()
            .map(|record| {
                let size = record.key.as_ref().map_or(0, |key| key.len()) + record.value.len();
                if size > MAX_RECORD_BYTES {
                    return Err(Error::invalid(format!(
                        "a record has {size} bytes; the maximum in the log is {MAX_RECORD_BYTES}"
                    )));
                }
                let table = self.table_of(record);
                let (encoder, count) = &mut encoders[table];
                encoder.push(record, time);
                *count += 1;
                Ok(Place { table, nth: *count - 1 })
            })
            .collect();
        let appends = encoders
            .into_iter()
            .enumerate()
            .filter(|(_, (_, count))| *count > 0)
            .map(|(table, (encoder, _))| Append { table, time, rows: encoder.finish() })
            .collect();
        (appends, places)
    }

    fn table_of(&self, record: &NewRecord) -> usize {
        let number = match &record.key {
            Some(key) => xxh3_64(key),
            None => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let tables = self.topic.tables.len() as u64;
        usize::try_from(number % tables).expect("less than the number of tables")
    }
}

/// Writes the rows, and returns the first new offset by table.
fn append(connection: &Connection, topic: &Topic, appends: Vec<Append>) -> Sql<Vec<Offset>> {
    let mut bases = vec![0; topic.tables.len()];
    for Append { table, time, rows } in appends {
        bases[table] = topic.tables[table].append(connection, topic, time, rows)?;
    }
    failpoint::reach(stage::INGEST);
    Ok(bases)
}
