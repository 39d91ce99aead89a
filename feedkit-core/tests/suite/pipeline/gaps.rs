//! Logs that no longer hold the records to read next.

use feedkit_core::pipeline::PartitionState;
use feedkit_core::{ErrorKind, History, Partition};

use super::world::{World, until};

/// Why the partition stopped.
fn stopped(running: &super::world::Running, partition: u32) -> Option<String> {
    match running.handle.status().partitions.get(&Partition(partition))?.state.clone() {
        PartitionState::Stopped(why) => Some(why.message),
        _ => None,
    }
}

#[tokio::test]
async fn an_expired_partition_stops_alone_and_goes_on_once_the_gap_is_accepted() {
    let world = World::new();
    let running = world.start();
    world.send(41, 400).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    let stood_at = world.position(2).await;
    world.send(42, 400).await;
    let start = stood_at + 10;
    world.log.expire_before(Partition(2), start);

    let running = world.start();
    until("partition 2 has stopped", async || stopped(&running, 2).is_some()).await;
    let why = stopped(&running, 2).unwrap();
    assert!(
        why.contains("expired") && why.contains(&stood_at.to_string()) && why.contains(&start.to_string()),
        "{why}"
    );
    assert_eq!(running.handle.reached(&world.ends()).await.unwrap_err().kind(), ErrorKind::Fatal);
    let ends = world.ends();
    until("the others have gone on", async || {
        let positions = world.history.positions().await.unwrap();
        [0, 1, 3].into_iter().all(|p| positions.of(Partition(p)) == ends.of(Partition(p)))
    })
    .await;
    assert_eq!(world.position(2).await, stood_at);
    running.stop().await;

    world.history.accept_gap(Partition(2), world.log.incarnation(), start, Default::default()).await.unwrap();
    let running = world.start();
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    let history = world.history.clone();
    assert_eq!(feedkit_core::Inspect::verify(&*history).await.unwrap().differences, [] as [String; 0]);
}

#[tokio::test]
async fn a_truncated_or_recreated_log_is_never_passed_over() {
    let world = World::new();
    let running = world.start();
    world.send(43, 400).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    let stood_at = world.position(1).await;
    world.log.truncate(Partition(1), stood_at - 3);
    let running = world.start();
    until("partition 1 has stopped", async || stopped(&running, 1).is_some()).await;
    assert!(stopped(&running, 1).unwrap().contains("truncated"));
    running.stop().await;

    world.log.recreate();
    world.send(44, 4_000).await;
    let running = world.start();
    until("all have stopped", async || (0..4).all(|p| stopped(&running, p).is_some())).await;
    for partition in 0..4 {
        assert!(stopped(&running, partition).unwrap().contains("recreated"));
    }
    // The new log's offsets are below the committed ones. Still, the history has not reached them.
    let error = running.handle.reached(&[(Partition(0), 1)].into_iter().collect()).await.unwrap_err();
    assert!(error.to_string().contains("recreated"), "{error}");
    running.stop().await;
    assert_eq!(world.position(1).await, stood_at);
}

#[tokio::test]
async fn holes_move_the_position_too() {
    let world = World::new();
    let running = world.start();
    for seed in 45..48 {
        world.send(seed, 100).await;
        for partition in 0..4 {
            world.log.skip(Partition(partition), 7);
        }
    }
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    assert_eq!(world.history.positions().await.unwrap(), world.ends());
    world.check().await;
}
