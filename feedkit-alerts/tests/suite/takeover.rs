//! One follower takes over the lease of another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::{History, JournalRead};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{ErrorKind, Partition};

use crate::driver::{Driver, TestFollower, positions};
use crate::world::{PARTITIONS, World};

async fn world(seed: u64) -> World {
    let world = World::new(seed);
    let config = TrafficOptions::default().seed(seed).count(6_000).users(300).posts(100).rate(40.0);
    world.fill(&config).await;
    world
}

/// Applies the next entries of each partition.
async fn apply_some(world: &World, follower: &TestFollower, max: usize) -> feedkit_core::Result<()> {
    let at = positions(follower).await.unwrap();
    for partition in (0..PARTITIONS).map(Partition) {
        let read = world.history.journal(partition, at.of(partition), max).await?;
        let JournalRead::Entries(entries) = read else { panic!("the journal is all there") };
        follower.apply(partition, &entries).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_follower_works_and_the_other_stands_by() {
    let world = world(1).await;
    let (first, second) = (world.follower(), world.follower());
    assert!(matches!(first.position(Partition(0)).await.unwrap(), FollowerPosition::At(0)));
    assert_eq!(second.position(Partition(0)).await.unwrap(), FollowerPosition::Standby);
    assert!(first.signals().lease().is_some() && second.signals().lease().is_none());
    // A lease that is renewed does not expire.
    for _ in 0..20 {
        world.clock.advance(std::time::Duration::from_secs(4));
        first.tick().await.unwrap();
        assert_eq!(second.position(Partition(0)).await.unwrap(), FollowerPosition::Standby);
    }
    apply_some(&world, &first, 500).await.unwrap();
    first.close().await.unwrap();
    assert!(first.signals().lease().is_none());
    assert_ne!(second.position(Partition(0)).await.unwrap(), FollowerPosition::Standby);
}

#[tokio::test]
async fn a_recovery_longer_than_the_lease_keeps_the_lease() {
    let world = world(9).await;
    let (first, heir, rival) = (world.follower(), world.follower(), world.follower());
    apply_some(&world, &first, 400).await.unwrap();
    first.close().await.unwrap();
    // No snapshot is taken, so there are many steps to recover.
    let second = world.follower_with(|o| (o.snapshot_effects, o.max_dirty) = (u64::MAX, usize::MAX));
    for _ in 0..8 {
        apply_some(&world, &second, 10).await.unwrap();
        // Old events wait until the other partitions are quiet.
        world.clock.advance(Duration::from_millis(300));
        second.tick().await.unwrap();
    }
    drop(second);
    world.outlive_lease();
    let begun = feedkit_core::Clock::now(&world.clock);
    let clock = world.clock.clone();
    *world.log.before_reading.lock().unwrap() = Some(Box::new(move || clock.advance(Duration::from_secs(3))));
    assert_ne!(heir.position(Partition(0)).await.unwrap(), FollowerPosition::Standby);
    let took = feedkit_core::Clock::now(&world.clock).since(begun);
    assert!(took > Duration::from_secs(10), "it took {took:?}, and a lease lasts 10 s");
    assert_eq!(rival.position(Partition(0)).await.unwrap(), FollowerPosition::Standby);
}

#[tokio::test]
async fn a_zombie_raises_nothing() {
    let world = world(2).await;
    let (zombie, heir) = (world.follower(), world.follower());
    apply_some(&world, &zombie, 300).await.unwrap();
    world.outlive_lease();
    assert!(positions(&heir).await.is_some());
    let (steps, alerts) = (world.log.written(), world.alerts().await.len());
    let JournalRead::Entries(entries) = world.history.journal(Partition(0), 0, usize::MAX).await.unwrap()
    else {
        panic!("the journal is all there");
    };
    // The zombie does not know yet that it lost the lease.
    let error = zombie.apply(Partition(0), &entries).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(zombie.apply(Partition(0), &entries).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(zombie.position(Partition(0)).await.unwrap(), FollowerPosition::Standby);
    assert!(zombie.signals().lease().is_none());
    zombie.close().await.unwrap();
    assert_eq!((world.log.written(), world.alerts().await.len()), (steps, alerts));
    drop(heir);
    world.outlive_lease();
    Driver::new(2).finish(&world).await;
    assert_eq!(world.alerts().await, world.oracle().await);
}

#[tokio::test]
async fn an_owner_that_is_paused_during_a_snapshot_is_replaced() {
    for seed in 3..8 {
        let world = Arc::new(world(seed).await);
        let (paused, heir) = (Arc::new(world.follower()), world.follower());
        let stop = world.log.in_snapshot.lock().await;
        let before = world.log.snapshots.load(Ordering::Relaxed);
        let work = tokio::spawn({
            let (world, paused) = (Arc::clone(&world), Arc::clone(&paused));
            async move {
                loop {
                    if let Err(e) = apply_some(&world, &paused, 200).await {
                        return e;
                    }
                }
            }
        });
        // It stops at its first snapshot.
        let mut steps = 0;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            steps = world.log.written();
        }
        assert!(steps > 0 && !work.is_finished());
        world.outlive_lease();
        // The heir recovers from the steps alone, and applies the next entries. Then the paused
        // owner wakes up.
        let at = positions(&heir).await.unwrap();
        assert!(at.total() > 0);
        drop(stop);
        let error = work.await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Fenced, "seed {seed}");
        assert_eq!(world.log.snapshots.load(Ordering::Relaxed), before, "the zombie's snapshot is refused");
        apply_some(&world, &heir, 200).await.unwrap();
        drop(heir);
        world.outlive_lease();
        Driver::new(seed).finish(&world).await;
        assert_eq!(world.alerts().await, world.oracle().await, "seed {seed}");
    }
}
