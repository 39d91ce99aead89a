use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use feedkit_core::testkit::TrafficConfig;

use crate::world::{Driver, World};

fn traffic(seed: u64) -> TrafficConfig {
    TrafficConfig { seed, count: 12_000, users: 600, posts: 200, rate: 40.0, ..TrafficConfig::default() }
}

/// Runs all of some traffic, and compares what was raised with the oracle's.
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
            "seed {seed}: too few of {kind} to mean much: {kinds:?}"
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
async fn raises_what_the_recorded_order_gives() {
    for seed in 1..4 {
        check(seed, 0, 0, 0).await;
    }
}

#[tokio::test]
async fn killed_again_and_again_raises_the_same() {
    let mut kills = 0;
    for seed in 10..18 {
        kills += check(seed, 0, 0, 12).await.kills;
    }
    assert!(kills >= 50, "{kills} kills");
}

#[tokio::test]
async fn a_log_that_fails_and_calls_that_are_dropped_change_nothing() {
    let (mut kills, mut drops) = (0, 0);
    for seed in 20..28 {
        let driver = check(seed, 15, 6, 25).await;
        kills += driver.kills;
        drops += driver.drops;
    }
    assert!(kills >= 20 && drops >= 50, "{kills} kills, {drops} calls dropped");
}
