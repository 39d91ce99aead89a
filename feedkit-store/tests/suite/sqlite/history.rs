//! History, queries and counters against the contracts' suites.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::journal::JournalEntry;
use feedkit_core::memory::MemoryHistory;
use feedkit_core::pipeline::CounterFollower;
use feedkit_core::testkit::conformance::support::{batch, post, shared};
use feedkit_core::testkit::conformance::{self, FollowerHarness};
use feedkit_core::trending::Trending;
use feedkit_core::{Counts, Error, History, Offset, Partition, Result};
use feedkit_store::sqlite::SqliteCounters;

use super::histories::Directories;
use crate::histories::Stores;

const P0: Partition = Partition(0);

#[tokio::test(flavor = "multi_thread")]
async fn the_history_keeps_its_contract() {
    let directories = Directories::default();
    conformance::history(async || directories.empty().await.store.history()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_keep_their_contract() {
    let directories = Directories::default();
    conformance::queries(async || shared(directories.empty().await.store.history())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_ask_keeps_its_contract() {
    let directories = Directories::default();
    conformance::inspect(async || shared(directories.empty().await.store.history())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_keep_their_contract() {
    let directories = Directories::default();
    conformance::counts(async || directories.empty().await.store.counters()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counters_keep_their_contract() {
    let directories = Directories::default();
    conformance::counters(async || directories.empty().await.store.counters()).await;
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
        let counters = self.empty().await.store.counters();
        // Its position is after all entries of the suite.
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
