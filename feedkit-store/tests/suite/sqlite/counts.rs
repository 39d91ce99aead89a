//! The history's own totals as counts, which are right at once and need no follower.

use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::effect::LoggedEvent;
use feedkit_core::journal::JournalEntry;
use feedkit_core::testkit::conformance::support::{batch, event};
use feedkit_core::testkit::conformance::{self, CountsHarness};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{Clock, Counts, History, Partition, Pipeline, PostId, Queries, SystemClock};
use feedkit_store::sqlite::{SourceOptions, SqliteCounts, SqliteHistory, USER_ACTIONS};

use super::support::{open, send};

/// Counts what is committed to the history.
struct Committed {
    history: SqliteHistory,
    counts: SqliteCounts,
    _dir: tempfile::TempDir,
}

#[async_trait]
impl CountsHarness for Committed {
    fn counts(&self) -> &dyn Counts {
        &self.counts
    }

    async fn count(&self, entry: &JournalEntry) {
        let epoch = self.history.claim(Partition(0), "g").await.unwrap().epoch;
        let events = entry.effects.iter().map(|effect| -> LoggedEvent {
            event(effect.offset, effect.user.as_str(), effect.post.as_str(), effect.kind.as_str())
        });
        let batch = batch(epoch, entry.from, entry.to, events.collect());
        self.history.commit(Arc::new(batch)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_historys_totals_keep_the_contract_of_counts() {
    conformance::counts(async || {
        let dir = tempfile::tempdir().unwrap();
        let history = open(dir.path()).await.history();
        Committed { counts: history.counts(), history, _dir: dir }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let history = Arc::new(store.history());
    let counts = history.counts();
    let source = store.log().member(USER_ACTIONS, "g", SourceOptions::default()).await.unwrap();
    let pipeline = Pipeline::builder(source, history.clone());
    let pipeline = pipeline.configure(|config| config.group = "g".to_owned()).build();
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run(Default::default()));

    let traffic = TrafficOptions::default().seed(71).count(2_000).posts(50);
    let sent = send(&store, traffic.traffic().map(|item| item.record()).collect()).await;
    let ends = sent.into_iter().fold(feedkit_core::Positions::new(), |mut ends, (partition, offset)| {
        ends.advance(partition, offset);
        ends
    });
    handle.committed(&ends).await.unwrap();
    let top = counts.top(1_000).await.unwrap();
    assert!(top.len() > 20);
    assert_eq!(top, Queries::top(&*history, None, 1_000).await.unwrap());
    let posts: Vec<_> = top.iter().map(|post| post.post_id.clone()).collect();
    for (post, view) in posts.iter().zip(counts.posts(&posts).await.unwrap()) {
        assert_eq!(Some(view), history.post(post).await.unwrap());
    }
    let unknown = PostId::new("unknown").unwrap();
    assert_eq!(counts.posts(&[unknown]).await.unwrap()[0].likes, 0);
    let now = SystemClock.now();
    let trending = counts.trending(now, 10).await.unwrap();
    assert_eq!(trending, Queries::trending(&*history, now, 10).await.unwrap());

    handle.reached(&ends).await.unwrap();
    assert_eq!(counts.top(1_000).await.unwrap(), top);
    running.abort();
}
