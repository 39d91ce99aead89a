//! Rebuilds that are interrupted, replaced, or run at the same time as others.

use std::time::Duration;

use feedkit_core::counters::{ChunkOutcome, RebuildToken};
use feedkit_core::history::PostTotals;
use feedkit_core::testkit::conformance::support::{post, user};
use feedkit_core::{CounterStore, Counts, ErrorKind, Partition, Positions};
use feedkit_store::redis::Redis;
use feedkit_test_services::{apply, needs_redis_server};

use super::support::{Reached, chunk, server};
use super::world::World;

fn totals(name: &str, likes: i64) -> PostTotals {
    let counts = vec![("like".to_owned(), likes), ("share".to_owned(), 1)];
    PostTotals { post: post(name), author: Some(user("w")), counts, score: Default::default() }
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_several_programs_wins() {
    let server = server!();
    let (a, b) = (server.redis().await.counters(), server.redis().await.counters());
    let old = a.begin_rebuild().await.unwrap();
    a.load(old, &[totals("old", 5)]).await.unwrap();
    let new = b.begin_rebuild().await.unwrap();
    assert!(new.0 > old.0);
    assert_eq!(a.load(old, &[totals("p", 5)]).await.unwrap_err().kind(), ErrorKind::Fenced);
    let finished = a.finish_rebuild(old, &Positions::new(), 17).await;
    assert_eq!(finished.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(a.top(5).await.unwrap_err().kind(), ErrorKind::Retriable);
    b.load(new, &[totals("p", 3)]).await.unwrap();
    b.finish_rebuild(new, &Positions::from_iter([(Partition(0), 40)]), 17).await.unwrap();
    assert_eq!(a.load(old, &[totals("p", 5)]).await.unwrap_err().kind(), ErrorKind::Fenced);
    let views = a.posts(&[post("p"), post("old")]).await.unwrap();
    assert_eq!((views[0].likes, views[0].counts["share"], views[1].likes), (3, 1, 0));
    assert_eq!(server.ask::<Option<i64>>("GET post:old:likes").await, None);
    assert_eq!(b.load(new, &[totals("p", 9)]).await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_at_work_is_left_alone_by_other_programs() {
    let server = server!();
    let mut options = server.options();
    options.rebuild_patience = Duration::from_secs(3600);
    let a = Redis::connect(options.clone()).await.unwrap().counters();
    let b = Redis::connect(options).await.unwrap().counters();
    let token = a.begin_rebuild().await.unwrap();
    let error = b.begin_rebuild().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable);
    assert!(error.to_string().contains("another process is rebuilding"), "{error}");
    a.load(token, &[totals("p", 3)]).await.unwrap();
    a.finish_rebuild(token, &Positions::new(), 17).await.unwrap();
    // After its end, another one can begin.
    b.begin_rebuild().await.unwrap();
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_cut_off_is_begun_anew() {
    let server = server!();
    let world = World::new();
    let counters = server.redis().await.counters();
    let running = world.start(counters.clone());
    world.send(31, 2_000).await;
    running.reached(&world).await;
    running.stop().await;
    {
        let dying = server.redis().await.counters();
        let token = dying.begin_rebuild().await.unwrap();
        dying.load(token, &[totals("stray", 7)]).await.unwrap();
    }
    assert_eq!(counters.top(5).await.unwrap_err().kind(), ErrorKind::Retriable);
    let running = world.start(server.redis().await.counters());
    world.send(32, 500).await;
    running.reached(&world).await;
    running.stop().await;
    world.check(&counters).await;
    assert_eq!(counters.posts(&[post("stray")]).await.unwrap()[0].likes, 0);
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_lost_something_does_not_finish() {
    let server = server!();
    let counters = server.redis().await.counters();
    let token = counters.begin_rebuild().await.unwrap();
    counters.load(token, &[totals("p", 1)]).await.unwrap();
    // This is the state after a failover to a replica that did not have the rebuild.
    server.ask::<()>("HSET feedkit:state loads 0").await;
    let error = counters.load(token, &[totals("q", 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    let error = counters.finish_rebuild(token, &Positions::new(), 17).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    // After all data is gone, the token is no longer valid, and is not given again.
    server.ask::<()>("FLUSHALL").await;
    let error = counters.load(token, &[totals("p", 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let RebuildToken(next) = counters.begin_rebuild().await.unwrap();
    assert!(next > token.0);
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_takes_what_is_counters_and_nothing_else() {
    let server = server!();
    let counters = server.redis().await.counters();
    counters.apply(&chunk(0, 9, &[("a", "p", "like"), ("a", "q", "share")])).await.unwrap();
    for i in 0..3000 {
        server.ask::<()>(&format!("MSET post:x{i}:likes 9 post:x{i}:comments 9 mine:{i} 1")).await;
        if i % 500 == 0 {
            server.ask::<()>(&format!("SET post:x{i}:tags mine")).await;
        }
    }
    let token = counters.begin_rebuild().await.unwrap();
    counters.finish_rebuild(token, &Positions::new(), 17).await.unwrap();
    let mut keys: Vec<String> = server.ask("KEYS post:*").await;
    keys.sort();
    let tags = ["0", "1000", "1500", "2000", "2500", "500"].map(|i| format!("post:x{i}:tags"));
    assert_eq!(keys, tags);
    assert_eq!(server.ask::<Vec<String>>("KEYS mine:*").await.len(), 3000);
    assert_eq!(counters.apply(&chunk(0, 9, &[("a", "p", "like")])).await.unwrap(), ChunkOutcome::Applied);
}
