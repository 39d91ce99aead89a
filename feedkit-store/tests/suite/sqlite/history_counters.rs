//! The history's own totals as a counter store: right at once, and nothing for a follower to do.

use std::sync::Arc;

use feedkit_core::pipeline::CounterFollower;
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, CounterStore, Pipeline, PostId, Queries, SystemClock};
use feedkit_store::sqlite::{SourceOptions, USER_ACTIONS};

use super::support::{open, send};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_counted_and_a_follower_finds_it_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let history = Arc::new(store.history());
    let counters = history.counters();
    let source = store.log().member(USER_ACTIONS, "g", SourceOptions::default()).await.unwrap();
    let follower =
        CounterFollower::new("counters", counters.clone(), Arc::clone(&history), Trending::default());
    let pipeline = Pipeline::builder(source, history.clone()).follower(follower);
    let pipeline = pipeline.configure(|config| config.group = "g".to_owned()).build();
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run(Default::default()));

    let traffic = TrafficOptions::default().seed(71).count(2_000).posts(50);
    let sent = send(&store, traffic.traffic().map(|item| item.record()).collect()).await;
    let ends = sent.into_iter().fold(feedkit_core::Positions::new(), |mut ends, (partition, offset)| {
        ends.advance(partition, offset);
        ends
    });
    // At once, without regard to the follower.
    handle.committed(&ends).await.unwrap();
    let top = counters.top(1_000).await.unwrap();
    assert!(top.len() > 20);
    assert_eq!(top, Queries::top(&*history, None, 1_000).await.unwrap());
    let posts: Vec<_> = top.iter().map(|post| post.post_id.clone()).collect();
    for (post, view) in posts.iter().zip(counters.posts(&posts).await.unwrap()) {
        assert_eq!(Some(view), history.post(post).await.unwrap());
    }
    let unknown = PostId::new("unknown").unwrap();
    assert_eq!(counters.posts(&[unknown]).await.unwrap()[0].likes, 0);
    let now = SystemClock.now();
    let trending = counters.trending(now, 10).await.unwrap();
    assert_eq!(trending, Queries::trending(&*history, now, 10).await.unwrap());

    // The follower comes as far without counting anything again.
    handle.reached(&ends).await.unwrap();
    assert_eq!(counters.top(1_000).await.unwrap(), top);
    assert!(counters.begin_rebuild().await.is_err());
    running.abort();
}
