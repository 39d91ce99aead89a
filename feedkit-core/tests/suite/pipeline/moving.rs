//! Partitions that move between pipelines: they are shared, taken away, and claimed twice.

use feedkit_core::pipeline::PartitionState;
use feedkit_core::{History, Partition};

use super::hooked::{Act, hooked};
use super::world::{Running, World, until};

#[tokio::test]
async fn pipelines_that_come_and_go_share_one_history() {
    let world = World::new();
    let first = world.start();
    world.send(31, 800).await;
    let second = world.start();
    world.send(32, 800).await;
    let third = world.start();
    world.send(33, 800).await;
    first.crash().await;
    world.send(34, 800).await;
    second.stop().await;
    world.send(35, 800).await;
    until("the one left has all partitions", async || {
        third.handle.status().positions().covers(&world.ends())
    })
    .await;
    third.handle.reached(&world.ends()).await.unwrap();
    third.stop().await;
    world.check().await;
}

#[tokio::test]
async fn a_zombie_is_refused_when_it_wakes() {
    let world = World::new();
    // The first pipeline falls asleep in a commit of every partition.
    let asleep = hooked(world.history.clone(), |_| Act::Hold);
    let reader = world.log.reader("g");
    let member = reader.member();
    let pipeline = feedkit_core::Pipeline::builder(reader, asleep.clone());
    let pipeline = pipeline.configure(|config| config.group = "g".to_owned()).build();
    let zombie = tokio::spawn(pipeline.run(Default::default()));
    world.send(36, 1_000).await;
    asleep.hooks.held.notified().await;
    // The group declares it dead, and another pipeline takes over.
    world.log.expel(member);
    let successor = world.start();
    world.send(37, 500).await;
    // Now it wakes. Its pending commits must change nothing.
    asleep.hooks.go_on.add_permits(1000);
    until("all is committed", async || world.history.positions().await.unwrap().covers(&world.ends())).await;
    zombie.abort();
    let _ = zombie.await;
    until("the successor has everything", async || successor.handle.status().has_reached(&world.ends()))
        .await;
    successor.stop().await;
    world.check().await;
}

#[tokio::test]
async fn a_partition_claimed_late_by_another_is_claimed_back() {
    let world = World::new();
    let running = world.start();
    world.send(38, 300).await;
    running.handle.reached(&world.ends()).await.unwrap();
    // A stalled member of the group claims partitions that it no longer has.
    for partition in 0..4 {
        world.history.claim(Partition(partition), "g").await.unwrap();
    }
    world.send(39, 300).await;
    let status = running.handle.reached(&world.ends()).await.unwrap();
    assert!(status.partitions.values().all(|p| p.state == PartitionState::Running), "{status:?}");
    running.stop().await;
    world.check().await;
}

#[tokio::test]
async fn a_shutdown_in_the_middle_is_gone_on_from() {
    let world = World::new();
    world.send(40, 3_000).await;
    for _ in 0..20 {
        let running = world.start();
        let before = world.history.positions().await.unwrap().total();
        until("something is committed", async || {
            let positions = world.history.positions().await.unwrap();
            positions.total() > before || positions.covers(&world.ends())
        })
        .await;
        running.stop().await;
    }
    let running = Running::start(world.pipeline(world.history.clone()));
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    world.check().await;
}
