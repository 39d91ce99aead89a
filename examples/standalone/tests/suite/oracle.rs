//! What a data directory's log holds, and what the model makes of it.

use std::collections::BTreeSet;
use std::path::Path;

use feedkit_core::source::{Record, Resume, SourceEvent};
use feedkit_core::testkit::Model;
use feedkit_core::{Codec, EventSource, Partition};
use feedkit_store::sqlite::{SourceOptions, Sqlite, SqliteOptions, USER_ACTIONS};

pub(crate) async fn open(data: &Path) -> Sqlite {
    Sqlite::open_read_only(data, SqliteOptions::default()).await.unwrap()
}

/// All records of a topic, in order by partition.
pub(crate) async fn logged(store: &Sqlite, topic: &str) -> Vec<(Partition, Record)> {
    let mut source = store.log().broadcast(topic, SourceOptions::default()).await.unwrap();
    let ends = source.ends().await.unwrap();
    let mut read = feedkit_core::Positions::new();
    let mut records = Vec::new();
    while !read.covers(&ends) {
        match source.next().await.unwrap() {
            SourceEvent::Assigned(assigned) => assigned.resume(Resume::default()),
            SourceEvent::Batch(batch) => {
                read.set(batch.partition, batch.to);
                records.extend(batch.records.into_iter().map(|record| (batch.partition, record)));
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    records
}

/// The model, fed all that was taken in.
pub(crate) async fn model_of(store: &Sqlite, codec: impl Codec) -> Model {
    let mut model = Model::new(codec, store.log().incarnation());
    for (partition, record) in logged(store, USER_ACTIONS).await {
        model.feed(partition, &record);
    }
    model
}

/// The ids of all events that the history keeps.
pub(crate) fn kept(data: &Path) -> BTreeSet<[u8; 16]> {
    let state = rusqlite::Connection::open_with_flags(
        data.join("state.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    );
    let state = state.unwrap();
    let mut months = state.prepare("SELECT month FROM event_months").unwrap();
    let months = months.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap);
    let mut ids = BTreeSet::new();
    for month in months.collect::<Vec<i64>>() {
        let mut select = state.prepare(&format!("SELECT id FROM events_{month}")).unwrap();
        ids.extend(select.query_map([], |row| row.get::<_, [u8; 16]>(0)).unwrap().map(Result::unwrap));
    }
    ids
}
