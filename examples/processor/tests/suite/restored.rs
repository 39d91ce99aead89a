//! Stores that are restored from an old backup.

use std::time::Duration;

use feedkit_test_services::{apply, eventually, needs_services};

use crate::oracle::{alerts, judge, published};
use crate::traffic::{Flow, lively, seed};
use crate::world::World;

/// Sends this many items and lets everything catch up. There are no unlikes, so the milestones that
/// are reached do not depend on the order in which partitions are read.
async fn more(world: &World, seed: u64, items: u64) {
    let config = lively(seed).unlikes(0.0);
    let flow = Flow::start(&world.events, &config, 50, Duration::from_millis(1));
    eventually("all is sent", async || flow.sent() >= items).await;
    flow.stop().await;
    world.catch_up().await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn an_old_dump_of_redis_is_brought_up_to_date() {
    let seed = seed();
    let mut world = World::new().await;
    more(&world, seed, 500).await;
    world.redis.ask::<String>("SAVE").await;
    let dump = world.redis.path().join("dump.rdb");
    let old = std::fs::read(&dump).unwrap();
    // Both while a processor runs, and between two runs.
    let (process, _) = world.started().await;
    more(&world, seed + 1, 500).await;
    world.redis.kill();
    std::fs::write(&dump, &old).unwrap();
    world.redis.start_again().await;
    more(&world, seed + 2, 300).await;
    judge(&world).await;
    process.stop().await;
    world.redis.kill();
    std::fs::write(&dump, &old).unwrap();
    world.redis.start_again().await;
    world.catch_up().await;
    judge(&world).await;
}

/// The counts in Redis are ahead of the restored history.
#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_of_postgresql_is_gone_on_from() {
    let seed = seed();
    let world = World::new().await;
    // The alerts of the spike rule depend on the order in which partitions are read.
    let world = world.set("SPIKE_ENABLED", "false").set("USER_RATE_ENABLED", "false");
    more(&world, seed, 800).await;
    let backup = world.database.backup().await;
    more(&world, seed + 1, 800).await;
    let before = alerts(&world).await;
    world.database.restore(&backup).await;
    let said = world.ok(&["after-restore"]).await;
    assert!(said.contains("incarnation"), "{said}");
    world.catch_up().await;
    judge(&world).await;
    // The same alerts are raised again, with the same ids, and not published again.
    assert_eq!(alerts(&world).await, before);
    assert_eq!(published(&world.notifications).await.len(), before.len(), "some were published twice");
    more(&world, seed + 2, 300).await;
    judge(&world).await;
}
