//! A data directory of version 0.1.0.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use feedkit_core::source::{Record, Resume, SourceEvent};
use feedkit_core::{EventSource, History, Partition, SystemClock};
use feedkit_store::sqlite::{NOTIFICATIONS, SourceOptions, Sqlite, SqliteOptions, USER_ACTIONS};

use crate::upgrade::{Expected, alerts_go_on, batch, history_goes_on, history_is_whole, stores};

const EXPECTED: Expected = Expected {
    positions: [16, 77, 98, 69],
    incarnation: 0xd8f5_c75d_a53c_bc5d_72ae_6bd5_195a_134a,
    verified: (129, 12),
    rejected: 9,
    top: &[("p0", 17), ("p1", 14), ("p4", 4), ("p10", 3), ("p3", 3), ("p2", 2)],
    first_post: (11, 17),
};
/// How many records of each partition are in the log, and not in the history yet.
const LEFT: u64 = 10;

fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["log.db", "state.db"] {
        fs::copy(stores().join("sqlite").join(file), dir.path().join(file)).unwrap();
    }
    dir
}

async fn open(dir: &Path) -> Sqlite {
    Sqlite::open(dir, SqliteOptions::default(), Arc::new(SystemClock)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_an_older_version_is_read_and_goes_on() {
    let dir = copy();
    let store = open(dir.path()).await;
    let history = store.history();
    history_is_whole(&history, &EXPECTED).await;
    assert_eq!(store.log().ends(NOTIFICATIONS).await.unwrap().iter().map(|(_, end)| end).sum::<u64>(), 2);

    commit_the_rest(&store).await;
    history_goes_on(&history).await;
    alerts_go_on(&store.alert_log()).await;
    history.rebuild_totals().await.unwrap();
    store.close().await;
    drop((history, store));

    let store = open(dir.path()).await;
    assert_eq!(feedkit_core::Inspect::verify(&store.history()).await.unwrap().difference_count, 0);
}

/// Reads the rest of the log from the history's positions, and commits it.
async fn commit_the_rest(store: &Sqlite) {
    let history = store.history();
    let mut source = store.log().broadcast(USER_ACTIONS, SourceOptions::default()).await.unwrap();
    let mut claims = Vec::new();
    for partition in (0..4).map(Partition) {
        let claim = history.claim(partition, "processor").await.unwrap();
        assert_eq!(claim.epoch, 2);
        claims.push(claim);
    }
    let mut left: Vec<Vec<Record>> = vec![Vec::new(); 4];
    while left.iter().any(|records| (records.len() as u64) < LEFT) {
        match source.next().await.unwrap() {
            SourceEvent::Assigned(assigned) => {
                let claim = &claims[assigned.partition.0 as usize];
                let (offset, log, last) = (claim.position, claim.log, claim.last);
                assigned.resume(Resume { offset, log, last });
            }
            SourceEvent::Batch(batch) => left[batch.partition.0 as usize].extend(batch.records),
            other => panic!("expected a batch, got {other:?}"),
        }
    }
    for (partition, (claim, records)) in (0..).map(Partition).zip(claims.iter().zip(&left)) {
        history.commit(Arc::new(batch(partition, claim, records))).await.unwrap();
    }
}
