//! A Redis that hangs, stops, and starts again.

use std::time::Duration;

use feedkit_core::testkit::conformance::support::post;
use feedkit_core::{AnswerCache, CounterStore, Counts, ErrorKind};
use feedkit_store::redis::{Redis, RedisOptions};
use feedkit_test_services::{apply, eventually, free_port, needs_redis_server};
use rustix::process::Signal;

use super::support::{Reached, chunk, server};
use super::world::World;

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_fails_reads_and_is_used_again_when_it_goes_on() {
    let server = server!();
    let mut options = server.options();
    (options.response_timeout, options.connect_timeout) =
        (Duration::from_millis(200), Duration::from_millis(200));
    let redis = Redis::connect(server.options()).await.unwrap();
    redis.counters().apply(&chunk(0, 5, &[("a", "p", "like")])).await.unwrap();
    let redis = Redis::lazy(options).unwrap();
    let counters = redis.counters();
    eventually("it answers", async || counters.top(5).await.is_ok()).await;
    server.signal(Signal::STOP);
    for _ in 0..12 {
        let error = counters.posts(&[post("p")]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retriable, "{error:?}");
    }
    assert_eq!(counters.top(5).await.unwrap_err().kind(), ErrorKind::Retriable);
    assert_eq!(redis.check().await.unwrap_err().kind(), ErrorKind::Retriable);
    assert_eq!(redis.cache().get("k").await.unwrap_err().kind(), ErrorKind::Retriable);
    server.signal(Signal::CONT);
    eventually("it is used again", async || {
        counters.posts(&[post("p")]).await.is_ok_and(|v| v[0].likes == 1)
    })
    .await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_holds_counting_up_and_no_more() {
    let server = server!();
    let world = World::new();
    let mut options = server.options();
    options.response_timeout = Duration::from_millis(300);
    let running = world.start(Redis::lazy(options).unwrap().counters());
    world.send(40, 500).await;
    running.reached(&world).await;
    server.signal(Signal::STOP);
    world.send(41, 500).await;
    eventually("the trouble is seen", async || {
        running.handle.status().followers["counters"].trouble.is_some()
    })
    .await;
    server.signal(Signal::CONT);
    let counters = server.redis().await.counters();
    world.agrees(&counters).await;
    running.stop().await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_lived_through() {
    let mut server = server!("--appendonly", "yes", "--appendfsync", "always");
    let world = World::new();
    let counters = server.redis().await.counters();
    let running = world.start(counters.clone());
    for seed in 42..45 {
        world.send(seed, 400).await;
        if seed == 43 {
            running.reached(&world).await;
        }
        server.kill();
        server.start_again().await;
    }
    world.agrees(&counters).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_retriable() {
    let options = RedisOptions::single(format!("redis://127.0.0.1:{}/", free_port()));
    let error = Redis::connect(options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error:?}");
    let redis = Redis::lazy(options).unwrap();
    assert_eq!(redis.counters().top(5).await.unwrap_err().kind(), ErrorKind::Retriable);
}
