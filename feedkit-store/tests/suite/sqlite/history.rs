//! History, queries and counters against the contracts' suites.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::{CommitBatch, JournalRead};
use feedkit_core::journal::JournalEntry;
use feedkit_core::memory::MemoryHistory;
use feedkit_core::pipeline::CounterFollower;
use feedkit_core::testkit::conformance::support::{LOG, at, batch, event, post, rejected};
use feedkit_core::testkit::conformance::{self, FollowerHarness};
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, Error, ErrorKind, History, Offset, Partition, Queries, Result};
use feedkit_store::sqlite::{Sqlite, SqliteCounters, SqliteHistory};

use super::support::open;

const P0: Partition = Partition(0);

/// Makes stores in directories that live as long as it does.
#[derive(Default)]
pub(super) struct Directories(Mutex<Vec<tempfile::TempDir>>);

impl Directories {
    pub(super) async fn store(&self) -> Sqlite {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        self.0.lock().unwrap().push(dir);
        store
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_keeps_its_contract() {
    let directories = Directories::default();
    conformance::history(async || directories.store().await.history()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_keep_their_contract() {
    let directories = Directories::default();
    conformance::queries(async || directories.store().await.history()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counters_keep_their_contract() {
    let directories = Directories::default();
    conformance::counters(async || directories.store().await.counters()).await;
}

/// Counters on SQLite that follow a history in memory.
pub(super) struct Following {
    counters: SqliteCounters,
    follower: CounterFollower<SqliteCounters, Arc<MemoryHistory>>,
}

#[async_trait]
impl Follower for Following {
    fn name(&self) -> &str {
        self.follower.name()
    }
    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        self.follower.position(partition).await
    }
    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        self.follower.apply(partition, entries).await
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        Err(Error::fatal(
            "it belongs to its own history: see the test of counters that follow and are rebuilt",
        ))
    }
}

#[async_trait]
impl FollowerHarness for Directories {
    type Follower = Following;

    async fn fresh(&self) -> Following {
        let counters = self.store().await.counters();
        // It stands where no entry of the suite goes beyond.
        let history = Arc::new(MemoryHistory::new());
        let epoch = history.claim(P0, "group").await.unwrap().epoch;
        history.commit(Arc::new(batch(epoch, 0, 1_000, vec![]))).await.unwrap();
        let follower = CounterFollower::new("counters", counters.clone(), history, Trending::default());
        Following { counters, follower }
    }

    async fn counts(&self, follower: &Following) -> BTreeMap<(String, String), i64> {
        let views = follower.counters.posts(&["other", "p", "q"].map(post)).await.unwrap();
        let counts = views.into_iter().flat_map(|view| {
            view.counts.into_iter().map(move |(kind, n)| ((view.post_id.to_string(), kind), n))
        });
        counts.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_keep_the_contract_of_followers() {
    conformance::follower(&Directories::default()).await;
}

async fn commit(history: &SqliteHistory, batch: CommitBatch) {
    history.commit(Arc::new(batch)).await.unwrap();
}

async fn entries(history: &SqliteHistory, from: u64, most: usize) -> Vec<(u64, u64)> {
    match history.journal(P0, from, most).await.unwrap() {
        JournalRead::Entries(entries) => entries.iter().map(|e| (e.from, e.to)).collect(),
        JournalRead::Expired(start) => panic!("the journal begins at {start}"),
    }
}

async fn differences(history: &SqliteHistory) -> Vec<String> {
    history.verify().await.unwrap().differences
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_move_over_a_gap_that_lies_ahead() {
    let directories = Directories::default();
    let history = directories.store().await.history();
    assert_eq!(history.accept_gap(P0, LOG, 5, at(0)).await.unwrap_err().kind(), ErrorKind::Invalid);
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    history.accept_gap(P0, LOG, 20, at(0)).await.unwrap();
    commit(&history, batch(epoch, 20, 30, vec![event(20, "a", "p", "like")])).await;
    let incarnation = history.incarnation().await.unwrap();
    history.accept_gap(P0, LOG, 40, at(1)).await.unwrap();
    history.accept_gap(P0, LOG, 40, at(1)).await.unwrap();
    assert_eq!(entries(&history, 0, 100).await, [(0, 20), (20, 30), (30, 40)]);
    assert_eq!(history.incarnation().await.unwrap(), incarnation);
    assert_eq!(history.claimed(P0).await.unwrap().epoch, epoch);
    assert_eq!(history.journal(P0, 41, 1).await.unwrap_err().kind(), ErrorKind::Gap);
    assert_eq!(differences(&history).await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_goes_back_makes_followers_start_over() {
    let directories = Directories::default();
    let store = directories.store().await;
    let history = store.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    let mut first = batch(epoch, 0, 10, vec![event(3, "a", "p", "like")]);
    first.rejected = vec![rejected(7)];
    commit(&history, first.clone()).await;
    let incarnation = history.incarnation().await.unwrap();
    history.note_follower("counters", P0, 10).await.unwrap();

    let foreign = CommitBatch { log: LOG + 1, ..batch(epoch, 10, 20, vec![]) };
    let refused = history.commit(Arc::new(foreign.clone())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gap, "{refused}");
    let stale = CommitBatch { epoch: epoch + 1, from: 9, ..foreign };
    let refused = history.commit(Arc::new(stale)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced, "the epoch comes before all else: {refused}");

    // The log was cut back and goes on as the same one.
    history.accept_gap(P0, LOG, 5, at(0)).await.unwrap();
    assert_ne!(history.incarnation().await.unwrap(), incarnation);
    assert!(matches!(history.journal(P0, 0, 1).await.unwrap(), JournalRead::Expired(5)));
    assert_eq!(entries(&history, 5, 1).await, []);
    assert_eq!(differences(&history).await, [] as [String; 0]);
    let mut again = batch(epoch, 5, 15, vec![event(12, "b", "p", "like")]);
    again.rejected = vec![rejected(7)];
    commit(&history, again).await;
    assert_eq!(entries(&history, 5, 1).await, [(5, 15)]);
    assert_eq!(history.rejected(None, 9).await.unwrap().len(), 1, "the same record of the same log");

    // It was made anew.
    history.accept_gap(P0, LOG + 1, 0, at(0)).await.unwrap();
    let refused = history.commit(Arc::new(batch(epoch, 0, 10, vec![]))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gap, "it was read from the log before: {refused}");
    commit(&history, CommitBatch { log: LOG + 1, ..first }).await;
    assert_eq!(entries(&history, 0, 9).await, [(0, 10)]);
    assert_eq!(history.rejected(None, 9).await.unwrap().len(), 2, "the same offset in two logs");
    assert_eq!(history.post(&post("p")).await.unwrap().unwrap().likes, 2);
    assert_eq!(differences(&history).await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_out_of_order_is_refused() {
    let directories = Directories::default();
    let history = directories.store().await.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    let like = |offset| event(offset, "a", &format!("p{offset}"), "like");
    let mut outside = batch(epoch, 0, 10, vec![]);
    outside.rejected = vec![rejected(10)];
    for bad in [
        batch(epoch, 0, 0, vec![]),
        batch(epoch, 0, 10, vec![like(5), like(4)]),
        batch(epoch, 0, 10, vec![like(10)]),
        outside,
        CommitBatch { to: 1 << 63, ..batch(epoch, 0, 10, vec![]) },
    ] {
        let refused = history.commit(Arc::new(bad)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    let claim = history.claimed(P0).await.unwrap();
    assert_eq!((claim.position, claim.log), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_the_journal_is_bounded_by_effects_and_entries() {
    let directories = Directories::default();
    let history = directories.store().await.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    for from in [0, 10, 20] {
        let likes = (0..3).map(|i| event(from + i, "a", &format!("p{from}-{i}"), "like")).collect();
        commit(&history, batch(epoch, from, from + 10, likes)).await;
    }
    for from in (30..80).step_by(10) {
        commit(&history, batch(epoch, from, from + 10, vec![])).await;
    }
    assert_eq!(entries(&history, 0, 5).await, [(0, 10)], "two entries have six effects");
    assert_eq!(entries(&history, 0, 6).await, [(0, 10), (10, 20)]);
    assert_eq!(entries(&history, 15, 5).await, [(10, 20)]);
    assert_eq!(entries(&history, 30, 2).await, [(30, 40), (40, 50)], "each counts as an effect");
    assert_eq!(entries(&history, 0, usize::MAX).await.len(), 8);
}
