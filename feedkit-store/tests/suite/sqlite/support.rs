//! Stores, records and readers for the tests.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::{Batch, Record, Resume, SourceEvent};
use feedkit_core::{EventSink, EventSource, Offset, Partition, Positions, SystemClock};
use feedkit_store::sqlite::{SourceOptions, Sqlite, SqliteOptions, SqliteSource, USER_ACTIONS};

pub(crate) async fn open(dir: &Path) -> Sqlite {
    Sqlite::open(dir, SqliteOptions::default(), Arc::new(SystemClock)).await.unwrap()
}

pub(crate) fn record(user: &str, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord::keyed(user, Bytes::from(value.into()))
}

/// Sends records to the users' actions, and returns the positions after them. Every record must be
/// accepted.
pub(crate) async fn send(store: &Sqlite, batch: Vec<NewRecord>) -> Vec<(Partition, Offset)> {
    let sent = store.log().sink(USER_ACTIONS).unwrap().send(batch).await;
    sent.into_iter().map(|r| r.map(|p| (p.partition, p.offset)).unwrap()).collect()
}

pub(crate) async fn broadcast(store: &Sqlite, options: SourceOptions) -> SqliteSource {
    store.log().broadcast(USER_ACTIONS, options).await.unwrap()
}

pub(crate) async fn next_batch(source: &mut SqliteSource) -> Batch {
    match source.next().await.unwrap() {
        SourceEvent::Batch(batch) => batch,
        other => panic!("expected a batch, got {other:?}"),
    }
}

/// Answers the assignments of all four partitions.
pub(crate) async fn resume_all(source: &mut SqliteSource, from: &Positions) {
    for _ in 0..4 {
        match source.next().await.unwrap() {
            SourceEvent::Assigned(assigned) => {
                let offset = from.of(assigned.partition);
                assigned.resume(Resume { offset, ..Resume::default() });
            }
            other => panic!("expected an assignment, got {other:?}"),
        }
    }
}

/// Reads all records from `from`, by partition and offset. Checks that the batches are contiguous.
pub(crate) async fn read_from(store: &Sqlite, from: &Positions) -> Vec<(Partition, Record)> {
    let mut source = broadcast(store, SourceOptions::default()).await;
    let ends = source.ends().await.unwrap();
    resume_all(&mut source, from).await;
    let mut at = from.clone();
    let mut records = Vec::new();
    while !at.covers(&ends) {
        let batch = next_batch(&mut source).await;
        assert_eq!(batch.from, at.of(batch.partition));
        at.set(batch.partition, batch.to);
        records.extend(batch.records.into_iter().map(|record| (batch.partition, record)));
    }
    records.sort_by_key(|(partition, record)| (*partition, record.offset));
    records
}

/// A directory with a copy of the databases and their write-ahead logs as they are now.
pub(crate) fn copy_live(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["log.db", "log.db-wal", "state.db", "state.db-wal"] {
        if dir.join(name).exists() {
            std::fs::copy(dir.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}
