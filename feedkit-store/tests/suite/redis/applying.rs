//! The changes that one chunk makes to the keys.

use std::collections::BTreeMap;
use std::time::Duration;

use feedkit_core::counters::{ChunkOutcome, CounterDelta, Fence};
use feedkit_core::testkit::conformance::support::{post, user};
use feedkit_core::{CounterStore, Counts, ErrorKind, Partition};
use feedkit_store::redis::Redis;
use feedkit_test_services::{Cut, Proxy, Watch, apply, eventually, needs_redis_server};

use super::support::{Reached, chunk, server};

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn keys_have_the_names_that_others_read() {
    let server = server!();
    let counters = server.redis().await.counters();
    let effects = [
        ("w", "9", "post"),
        ("a", "9", "like"),
        ("b", "9", "like"),
        ("a", "8", "like"),
        ("a", "9", "comment"),
        ("c", "9", "share"),
        ("a", "7", "comment"),
    ];
    assert_eq!(counters.apply(&chunk(0, 9, &effects)).await.unwrap(), ChunkOutcome::Applied);
    for (key, value) in [
        ("post:9:likes", 2),
        ("post:8:likes", 1),
        ("post:9:comments", 1),
        ("post:9:shares", 1),
        ("post:7:comments", 1),
    ] {
        assert_eq!(server.ask::<i64>(&format!("GET {key}")).await, value, "{key}");
    }
    let top: Vec<(String, f64)> = server.ask("ZREVRANGE top_posts 0 -1 WITHSCORES").await;
    assert_eq!(top, [("post:9".to_owned(), 2.0), ("post:8".to_owned(), 1.0)]);
    let trending: Vec<String> = server.ask("ZREVRANGE trending_posts 0 -1").await;
    assert_eq!(trending, ["post:9", "post:8"]);
    assert_eq!(server.ask::<String>("HGET feedkit:authors 9").await, "w");
    // There are only the documented keys, and none of them expires.
    let mut keys: Vec<String> = server.ask("KEYS *").await;
    keys.retain(|key| !key.starts_with("post:"));
    keys.sort();
    let ours = [
        "feedkit:authors",
        "feedkit:fences",
        "feedkit:kinds",
        "feedkit:state",
        "top_posts",
        "trending_posts",
    ];
    assert_eq!(keys, ours);
    for key in keys {
        assert_eq!(server.ask::<i64>(&format!("TTL {key}")).await, -1, "{key}");
    }
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_lost_after_the_chunk_was_counted_counts_once() {
    let server = server!();
    let proxy = Proxy::to(format!("127.0.0.1:{}", server.port), Watch::Anything).await;
    let mut options = proxy.options();
    options.connections = 1;
    let counters = Redis::connect(options).await.unwrap().counters();
    for i in 0..20 {
        let chunk = chunk(i, i + 1, &[("a", "p", "like"), ("a", "q", "comment")]);
        if i % 2 == 1 {
            proxy.cut_next(Cut::After);
        }
        let outcome = counters.apply(&chunk).await.unwrap();
        assert!(matches!(outcome, ChunkOutcome::Applied | ChunkOutcome::Skipped), "{outcome:?}");
        let views = counters.posts(&[post("p"), post("q")]).await.unwrap();
        assert_eq!((views[0].likes, views[1].comments), (i as i64 + 1, i as i64 + 1));
    }
    assert_eq!(proxy.cuts(), 10, "replies were to be lost");
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_never_comes_is_retriable_and_the_chunk_counts_once() {
    let server = server!();
    let proxy = Proxy::to(format!("127.0.0.1:{}", server.port), Watch::Anything).await;
    let mut options = proxy.options();
    (options.connections, options.response_timeout) = (1, Duration::from_millis(300));
    let counters = Redis::connect(options).await.unwrap().counters();
    // First make the server know the script, so that a call takes one round trip.
    assert_eq!(counters.apply(&chunk(0, 4, &[])).await.unwrap(), ChunkOutcome::Applied);
    let first = chunk(4, 5, &[("a", "p", "like")]);
    proxy.swallow_replies(true);
    let error = counters.apply(&first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error:?}");
    eventually("the server has counted", async || {
        server.ask::<Option<i64>>("GET post:p:likes").await == Some(1)
    })
    .await;
    proxy.swallow_replies(false);
    // Replies were lost, so the connection is out of step. It is closed after it has been silent
    // for a while.
    eventually("the chunk is known to be counted", async || {
        counters.apply(&first).await.is_ok_and(|outcome| outcome == ChunkOutcome::Skipped)
    })
    .await;
    assert_eq!(server.ask::<i64>("GET post:p:likes").await, 1);
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_is_named_and_nothing_is_changed() {
    let server = server!();
    let chunk = chunk(0, 9, &[("a", "a", "like"), ("a", "b", "like"), ("a", "c", "share")]);
    for (plant, key) in [
        ("RPUSH post:b:likes x", "post:b:likes"),
        ("RPUSH post:c:shares x", "post:c:shares"),
        ("SET post:b:likes many", "post:b:likes"),
        ("SET post:b:likes 1.5", "post:b:likes"),
        ("SET top_posts x", "top_posts"),
        ("RPUSH trending_posts x", "trending_posts"),
        ("SET feedkit:state x", "feedkit:state"),
        ("SET feedkit:fences x", "feedkit:fences"),
        ("SET feedkit:authors x", "feedkit:authors"),
        ("SET feedkit:kinds x", "feedkit:kinds"),
    ] {
        server.ask::<()>("FLUSHALL").await;
        server.ask::<redis::Value>(plant).await;
        let counters = server.redis().await.counters();
        let error = counters.apply(&chunk).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap, "{plant}: {error}");
        assert!(error.to_string().contains(key), "{plant}: {error}");
        assert_eq!(server.ask::<Option<i64>>("GET post:a:likes").await, None, "{plant}");
        assert_eq!(counters.fence(Partition(0)).await.unwrap(), None, "{plant}");

        // A rebuild removes it.
        let token = counters.begin_rebuild().await.unwrap();
        counters.finish_rebuild(token, &Default::default(), 17).await.unwrap();
        assert_eq!(counters.apply(&chunk).await.unwrap(), ChunkOutcome::Applied, "{plant}");
        assert_eq!(server.ask::<i64>("GET post:b:likes").await, 1, "{plant}");
    }
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn counts_that_redis_could_not_keep_exactly_are_refused() {
    let server = server!();
    let counters = server.redis().await.counters();
    let mut large = chunk(0, 5, &[("a", "p", "share")]);
    let most = (1 << 53) - 1;
    large.deltas[0].by = most + 1;
    assert_eq!(counters.apply(&large).await.unwrap_err().kind(), ErrorKind::Data);
    large.deltas[0].by = most;
    assert_eq!(counters.apply(&large).await.unwrap(), ChunkOutcome::Applied);
    assert_eq!(server.ask::<i64>("GET post:p:shares").await, most);
    assert_eq!(counters.posts(&[post("p")]).await.unwrap()[0].counts["share"], most);
    let next = chunk(5, 6, &[("a", "p", "share")]);
    assert!(counters.apply(&next).await.unwrap_err().to_string().contains("post:p:shares"));
    assert_eq!(server.ask::<i64>("GET post:p:shares").await, most);

    let mut long = next;
    long.deltas = vec![long.deltas[0].clone(); 1001];
    assert_eq!(counters.apply(&long).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn positions_are_exact_beyond_what_lua_counts() {
    let server = server!();
    let counters = server.redis().await.counters();
    let at = |position| Fence { position, chunk: 0, incarnation: u128::MAX };
    let token = counters.begin_rebuild().await.unwrap();
    let positions = [(Partition(0), u64::MAX - 9)].into_iter().collect();
    counters.finish_rebuild(token, &positions, u128::MAX).await.unwrap();
    let delta = CounterDelta {
        post: post("p"),
        kind: "like".into(),
        by: 1,
        score: Default::default(),
        author: Some(user("w")),
    };
    for (from, expected) in [(10, "Skipped"), (8, "Gap"), (9, "Applied"), (9, "Skipped")] {
        let mut chunk = chunk(0, 5, &[]);
        (chunk.fence, chunk.next) = (at(u64::MAX - from), at(u64::MAX - 5));
        chunk.deltas = vec![delta.clone()];
        let outcome = format!("{:?}", counters.apply(&chunk).await.unwrap());
        assert!(outcome.starts_with(expected), "{from}: {outcome}");
    }
    assert_eq!(counters.fence(Partition(0)).await.unwrap(), Some(at(u64::MAX - 5)));
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn two_who_apply_at_once_count_once() {
    let server = server!();
    let entries = 200u64;
    let apply = |counters: feedkit_store::redis::RedisCounters| async move {
        let mut applied = 0;
        for i in 0..entries {
            let chunk = chunk(i, i + 1, &[("a", "p", "like"), ("a", &format!("q{i}"), "like")]);
            applied += u64::from(counters.apply(&chunk).await.unwrap() == ChunkOutcome::Applied);
        }
        applied
    };
    let (a, b) = (server.redis().await.counters(), server.redis().await.counters());
    let (first, second) = tokio::join!(tokio::spawn(apply(a)), tokio::spawn(apply(b.clone())));
    let (first, second) = (first.unwrap(), second.unwrap());
    println!("{first} and {second} applied");
    assert_eq!(first + second, entries);
    let views = b.posts(&[post("p"), post("q0"), post("q199")]).await.unwrap();
    assert_eq!(views.iter().map(|v| v.likes).collect::<Vec<_>>(), [entries as i64, 1, 1]);
    let expected: BTreeMap<_, _> = [("like".to_owned(), entries as i64)].into();
    assert_eq!(views[0].counts, expected);
}
