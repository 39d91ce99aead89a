//! A pipeline that counts in Redis, while Redis loses data, or gets old data back.

use feedkit_core::history::RetentionPolicy;
use feedkit_core::queries::PostView;
use feedkit_core::{Clock, CounterStore, Counts, History, PostId};
use feedkit_store::redis::Redis;
use feedkit_test_services::{apply, needs_redis_server};

use super::support::{Reached, server};
use super::world::World;

async fn most_liked(counters: &dyn CounterStore) -> PostId {
    counters.top(1).await.unwrap().remove(0).post_id
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn counts_are_the_models() {
    let server = server!();
    let world = World::new();
    let counters = server.redis().await.counters();
    let running = world.start(counters.clone());
    world.send(1, 4_000).await;
    running.reached(&world).await;
    running.stop().await;
    world.check(&counters).await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_flushed_is_counted_again_also_when_nothing_new_comes() {
    let server = server!();
    let world = World::new();
    let counters = server.redis().await.counters();
    let running = world.start(counters.clone());
    world.send(2, 1_500).await;
    running.reached(&world).await;
    server.ask::<()>("FLUSHALL").await;
    world.send(3, 1_500).await;
    world.agrees(&counters).await;
    server.ask::<()>("FLUSHALL").await;
    world.agrees(&counters).await;
    running.stop().await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn an_old_dump_is_caught_up_with() {
    let mut server = server!();
    let world = World::new();
    let counters = server.redis().await.counters();
    let running = world.start(counters.clone());
    world.send(4, 1_000).await;
    running.reached(&world).await;
    server.ask::<()>("SAVE").await;
    world.send(5, 1_000).await;
    running.reached(&world).await;
    world.check(&counters).await;
    server.kill();
    server.start_again().await;
    world.agrees(&counters).await;
    world.send(6, 500).await;
    running.reached(&world).await;
    running.stop().await;
    world.check(&counters).await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn counts_of_another_history_are_replaced() {
    let server = server!();
    let (first, second) = (World::new(), World::new());
    let counters = server.redis().await.counters();
    for world in [&first, &second] {
        let running = world.start(counters.clone());
        world.send(7, 1_000).await;
        running.reached(world).await;
        world.agrees(&counters).await;
        running.stop().await;
    }
    assert_ne!(first.history.incarnation().await.unwrap(), second.history.incarnation().await.unwrap());
    second.check(&counters).await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_planted_is_repaired_from_the_history() {
    let server = server!();
    let world = World::new();
    let counters = server.redis().await.counters();
    let running = world.start(counters.clone());
    world.send(8, 1_000).await;
    running.reached(&world).await;
    let post = most_liked(&counters).await;
    for (round, plant) in [
        format!("RPUSH post:{post}:likes x"),
        "SET top_posts x".to_owned(),
        "RPUSH feedkit:fences x".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        server.ask::<redis::Value>(&format!("DEL {}", plant.split(' ').nth(1).unwrap())).await;
        server.ask::<redis::Value>(&plant).await;
        world.send(20 + round as u64, 1_000).await;
        world.agrees(&counters).await;
    }
    let views: Vec<PostView> = counters.posts(&[post]).await.unwrap();
    assert!(views[0].likes > 0);
    running.stop().await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_rebuild_one_after_the_other_when_the_journal_does_not_reach_back() {
    let server = server!();
    let world = World::new();
    let counters = server.redis().await.counters();
    let connect = async || {
        let mut options = server.options();
        options.rebuild_patience = std::time::Duration::from_secs(5);
        Redis::connect(options).await.unwrap().counters()
    };
    let running = [world.start(connect().await), world.start(connect().await)];
    for seed in 13..15 {
        world.send(seed, 700).await;
        world.agrees(&counters).await;
        let policy = RetentionPolicy::default()
            .journal(std::time::Duration::ZERO)
            .follower_silence(std::time::Duration::ZERO);
        world.clock.advance(std::time::Duration::from_secs(86_400));
        world.history.retain(&policy, world.clock.now()).await.unwrap();
        server.ask::<()>("FLUSHALL").await;
        world.agrees(&counters).await;
    }
    for running in running {
        running.stop().await;
    }
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_that_lose_redis_at_once_do_not_hinder_each_other_for_ever() {
    let server = server!();
    let world = World::new();
    let counters = server.redis().await.counters();
    let running =
        [world.start(server.redis().await.counters()), world.start(server.redis().await.counters())];
    for seed in 9..12 {
        world.send(seed, 700).await;
        world.agrees(&counters).await;
        server.ask::<()>("FLUSHALL").await;
    }
    world.send(12, 200).await;
    world.agrees(&counters).await;
    for running in running {
        running.stop().await;
    }
}
