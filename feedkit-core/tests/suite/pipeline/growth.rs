//! A log that gets more partitions: keys move, and their order must hold all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use feedkit_core::pipeline::PartitionState;
use feedkit_core::sink::NewRecord;
use feedkit_core::{Clock, EventSink, History, Partition, PostId, Queries};

use super::hooked::{Act, hooked};
use super::world::{Running, World, until};

const USERS: usize = 200;

/// Every user does `kind` to post `p`.
async fn all(world: &World, kind: &str) {
    let record = |user: usize| {
        let value = format!(r#"{{"userId":"u{user}","postId":"p","type":"{kind}"}}"#);
        NewRecord::keyed(format!("u{user}"), value.into())
    };
    for outcome in world.log.send((0..USERS).map(record).collect()).await {
        outcome.unwrap();
    }
}

async fn likes(world: &World) -> i64 {
    world.history.post(&PostId::new("p").unwrap()).await.unwrap().map_or(0, |post| post.likes)
}

#[tokio::test]
async fn what_a_key_did_before_the_log_grew_goes_first() {
    let world = World::new();
    let running = world.start();
    all(&world, "comment").await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    // The likes lie in the old partitions, the unlikes of the same users partly in new ones.
    all(&world, "like").await;
    world.log.grow(8);
    all(&world, "unlike").await;
    // The old ones are slow.
    let slow = hooked(world.history.clone(), |batch| match batch.partition {
        Partition(old) if old < 4 => Act::Hold,
        _ => Act::Pass,
    });
    let pipeline = world.pipeline(slow.clone()).configure(|config| config.partitions_may_grow = true);
    let running = Running::start(pipeline);
    slow.hooks.held.notified().await;
    let waiting = |running: &Running| {
        let status = running.handle.status();
        (4..8)
            .all(|p| status.partitions.get(&Partition(p)).is_some_and(|p| p.state == PartitionState::Waiting))
    };
    until("the new partitions wait", async || waiting(&running)).await;
    slow.hooks.go_on.add_permits(1000);
    until("all is committed", async || world.history.positions().await.unwrap().covers(&world.ends())).await;
    running.handle.reached(&world.ends()).await.unwrap();
    assert_eq!(likes(&world).await, 0, "an unlike went before its like");
    running.stop().await;
}

/// Who writes may go on with the old partitions after who reads has seen the new ones.
#[tokio::test]
async fn what_a_late_writer_sends_to_the_old_partitions_goes_first() {
    let world = World::new();
    let held = Arc::new(AtomicBool::new(false));
    let hold = held.clone();
    let slow = hooked(world.history.clone(), move |batch| match batch.partition {
        Partition(old) if old < 4 && hold.load(Ordering::Relaxed) => Act::Hold,
        _ => Act::Pass,
    });
    let pipeline = world.pipeline(slow.clone()).configure(|config| config.partitions_may_grow = true);
    let running = Running::start(pipeline);
    all(&world, "comment").await;
    running.handle.reached(&world.ends()).await.unwrap();
    // Where each user's actions went before.
    let old: Vec<_> = (0..USERS).map(|user| world.log.partition_of(format!("u{user}").as_bytes())).collect();
    world.log.grow(8);
    let assigned = |p| running.handle.status().partitions.get(&Partition(p)).map(|p| p.state.clone());
    until("the new partitions are assigned", async || {
        (4..8).all(|p| assigned(p) == Some(PartitionState::Running))
    })
    .await;
    held.store(true, Ordering::Relaxed);
    for (user, partition) in old.into_iter().enumerate() {
        let value = format!(r#"{{"userId":"u{user}","postId":"p","type":"like"}}"#);
        world.log.append(partition, world.clock.now(), Some(format!("u{user}").into()), value.into());
    }
    all(&world, "unlike").await;
    slow.hooks.held.notified().await;
    until("the new partitions wait", async || (4..8).all(|p| assigned(p) == Some(PartitionState::Waiting)))
        .await;
    slow.hooks.go_on.add_permits(1000);
    running.handle.reached(&world.ends()).await.unwrap();
    assert_eq!(likes(&world).await, 0, "an unlike went before its like");
    running.stop().await;
}

#[tokio::test]
async fn a_log_that_grows_under_traffic_is_read_whole() {
    let world = World::new();
    let pipeline =
        world.pipeline(world.history.clone()).configure(|config| config.partitions_may_grow = true);
    let running = Running::start(pipeline);
    world.send(71, 800).await;
    world.log.grow(8);
    world.send(72, 800).await;
    all(&world, "like").await;
    until("all is committed", async || running.handle.status().positions().covers(&world.ends())).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    assert_eq!(likes(&world).await, USERS as i64);
    let totals = world.history.verify().await.unwrap();
    assert_eq!(totals.difference_count, 0, "{totals:?}");
}
