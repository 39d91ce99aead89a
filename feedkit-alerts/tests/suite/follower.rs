//! The follower takes steps, writes snapshots, and starts again from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::{History, JournalRead, RetentionPolicy};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{ErrorKind, Partition};
use futures_util::future::join_all;

use crate::driver::{Driver, positions};
use crate::world::World;

fn traffic(seed: u64) -> TrafficOptions {
    TrafficOptions::default().seed(seed).count(12_000).users(600).posts(200).rate(40.0)
}

/// Runs some traffic to its end, and compares the alerts with those of the oracle.
async fn check(seed: u64, fail_one_in: u32, drop_one_in: u32, kill_one_in: u32) -> Driver {
    let world = World::new(seed);
    world.fill(&traffic(seed)).await;
    world.log.fail_one_in.store(fail_one_in, Ordering::Relaxed);
    let mut driver = Driver { drop_one_in, kill_one_in, ..Driver::new(seed) };
    driver.finish(&world).await;
    let (alerts, oracle) = (world.alerts().await, world.oracle().await);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    alerts.iter().for_each(|n| *kinds.entry(&n.kind).or_default() += 1);
    for kind in ["MILESTONE", "FRAUD", "FRAUD_RESOLVED", "THIRD"] {
        assert!(
            kinds.get(kind).is_some_and(|n| *n >= 10),
            "seed {seed}: too few alerts of kind {kind}: {kinds:?}"
        );
    }
    for (i, (got, expected)) in alerts.iter().zip(&oracle).enumerate() {
        assert_eq!(got, expected, "seed {seed}, alert {i}");
    }
    assert_eq!(alerts.len(), oracle.len(), "seed {seed}");
    assert!(world.log.snapshots.load(Ordering::Relaxed) >= 5, "seed {seed}");
    driver
}

#[tokio::test]
async fn raises_the_same_as_the_recorded_order() {
    for seed in 1..4 {
        check(seed, 0, 0, 0).await;
    }
}

#[tokio::test]
async fn raises_the_same_when_killed_again_and_again() {
    let mut kills = 0;
    for seed in 10..18 {
        kills += check(seed, 0, 0, 5).await.kills;
    }
    assert!(kills >= 30, "{kills} kills");
}

#[tokio::test]
async fn raises_the_same_when_the_log_fails_and_calls_are_dropped() {
    let (mut kills, mut drops) = (0, 0);
    for seed in 20..28 {
        let driver = check(seed, 15, 2, 15).await;
        kills += driver.kills;
        drops += driver.drops;
    }
    assert!(kills >= 10 && drops >= 30, "{kills} kills, {drops} calls dropped");
}

#[tokio::test]
async fn waits_for_lagging_partitions_for_a_limited_time() {
    let world = World::new(30);
    world.fill(&traffic(30)).await;
    let follower = world.follower();
    let before = positions(&follower).await.unwrap();
    let first = Partition(0);
    let JournalRead::Entries(entries) = world.history.journal(first, 0, 300).await.unwrap() else {
        panic!("the journal is all there")
    };
    let taken = follower.apply(first, &entries).await.unwrap();
    assert_eq!(taken, entries.last().unwrap().to);
    for _ in 0..3 {
        world.clock.advance(Duration::from_millis(300));
        follower.tick().await.unwrap();
        assert_eq!(positions(&follower).await.unwrap(), before, "nothing was written yet");
    }
    world.clock.advance(Duration::from_millis(200));
    follower.tick().await.unwrap();
    assert_eq!(positions(&follower).await.unwrap().of(first), taken);
    // The wait starts over with the next entries.
    let JournalRead::Entries(next) = world.history.journal(first, taken, 100).await.unwrap() else {
        panic!("the journal is all there")
    };
    world.clock.advance(Duration::from_secs(2));
    let taken_next = follower.apply(first, &next).await.unwrap();
    world.clock.advance(Duration::from_millis(900));
    follower.tick().await.unwrap();
    assert_eq!(positions(&follower).await.unwrap().of(first), taken);
    world.clock.advance(Duration::from_millis(100));
    follower.tick().await.unwrap();
    assert_eq!(positions(&follower).await.unwrap().of(first), taken_next);
    // Entries after a gap are refused, and do no harm.
    let JournalRead::Entries(later) = world.history.journal(first, taken_next + 500, 300).await.unwrap()
    else {
        panic!("the journal is all there")
    };
    assert_eq!(follower.apply(first, &later).await.unwrap_err().kind(), ErrorKind::Gap);
    assert_eq!(follower.apply(first, &entries).await.unwrap(), taken_next);
}

#[tokio::test]
async fn entries_that_arrive_at_the_same_moment_make_one_step() {
    let world = World::new(32);
    let follower = world.follower_with(|o| o.max_step = 600);
    // The follower learns that all partitions are empty, so it waits for none of them.
    positions(&follower).await.unwrap();
    world.fill(&traffic(32).count(600)).await;
    let all = world.history.positions().await.unwrap();
    let mut runs = Vec::new();
    for (partition, _) in all.iter() {
        match world.history.journal(partition, 0, usize::MAX).await.unwrap() {
            JournalRead::Entries(entries) => runs.push((partition, entries)),
            JournalRead::Expired(start) => panic!("the journal begins at {start}"),
        }
    }
    assert!(runs.len() >= 3, "{} partitions", runs.len());
    // The events are live, so none waits for other partitions.
    let times = runs.iter().flat_map(|(_, entries)| entries).flat_map(|entry| &entry.effects).map(|e| e.time);
    world.clock.set(times.max().unwrap());
    let applied = runs.iter().map(|(partition, entries)| follower.apply(*partition, entries));
    for taken in join_all(applied).await {
        taken.unwrap();
    }
    assert_eq!(positions(&follower).await.unwrap(), all);
    assert_eq!(world.log.written(), 1);
}

#[tokio::test]
async fn does_not_hold_more_effects_than_allowed() {
    let world = World::new(31);
    world.fill(&traffic(31)).await;
    let follower = world.follower();
    positions(&follower).await.unwrap();
    let JournalRead::Entries(entries) = world.history.journal(Partition(0), 0, usize::MAX).await.unwrap()
    else {
        panic!("the journal is all there")
    };
    let (mut applied, mut written) = (0, 0);
    for entry in &entries {
        applied += entry.effects.len();
        follower.apply(Partition(0), std::slice::from_ref(entry)).await.unwrap();
        let at = positions(&follower).await.unwrap().of(Partition(0));
        written = entries.iter().flat_map(|e| &e.effects).filter(|e| e.offset < at).count();
        assert!(applied - written <= 1_000, "{} effects wait", applied - written);
    }
    assert!(written > 0);
}

#[tokio::test]
async fn is_rebuilt_from_totals_when_the_journal_has_expired() {
    let world = World::new(32);
    let config = traffic(32).unlikes(0.0).comments(0.11);
    world.fill(&config.clone().count(5_000)).await;
    let follower = world.follower();
    let at = positions(&follower).await.unwrap();
    for partition in [Partition(0), Partition(1)] {
        let JournalRead::Entries(entries) = world.history.journal(partition, 0, 400).await.unwrap() else {
            panic!("the journal is all there")
        };
        follower.apply(partition, &entries).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(2));
    follower.tick().await.unwrap();
    assert_ne!(positions(&follower).await.unwrap(), at);
    drop(follower);

    world.clock.advance(Duration::from_secs(3 * 86_400));
    let policy = RetentionPolicy::default().follower_silence(Duration::ZERO);
    let retained = world.history.retain(&policy, feedkit_core::Clock::now(&world.clock)).await.unwrap();
    assert!(retained.journal_entries > 0);
    let follower = world.follower();
    let position = follower.position(Partition(0)).await.unwrap();
    assert!(matches!(position, FollowerPosition::Rebuild(_)), "{position:?}");
    follower.rebuild(&*world.history).await.unwrap();
    assert_eq!(positions(&follower).await.unwrap(), world.history.positions().await.unwrap());
    follower.close().await.unwrap();

    // Later events are added to the rebuilt counts.
    world.fill(&config).await;
    Driver { kill_one_in: 20, ..Driver::new(32) }.finish(&world).await;
    let milestones = |alerts: Vec<feedkit_core::notification::Notification>| -> BTreeSet<String> {
        alerts.into_iter().filter(|n| n.kind == "MILESTONE").map(|n| n.id).collect()
    };
    let uninterrupted = World::new(32);
    uninterrupted.fill(&config).await;
    Driver::new(32).finish(&uninterrupted).await;
    let expected = milestones(uninterrupted.alerts().await);
    assert!(expected.len() > 100);
    assert_eq!(milestones(world.alerts().await), expected);
}
