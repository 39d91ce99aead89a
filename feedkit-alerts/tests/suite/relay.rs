//! The relay publishes every alert, also when calls fail.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use feedkit_alerts::{Relay, Relayed, Signals};
use feedkit_core::history::JournalRead;
use feedkit_core::memory::MemoryLog;
use feedkit_core::notification::Notification;
use feedkit_core::sink::NewRecord;
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{Error, EventSink, Follower, History, Partition, Position, Result};
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::driver::{AtMost, Driver, positions};
use crate::test_log::TestLog;
use crate::world::World;

/// A world with a full outbox, and a log for the notifications.
async fn full(seed: u64) -> (World, MemoryLog) {
    let world = World::new(seed);
    let config = TrafficOptions::default().seed(seed).count(4_000).users(300).posts(100).rate(40.0);
    world.fill(&config).await;
    Driver::new(seed).finish(&world).await;
    let notifications = MemoryLog::new(3, world.clock.clone());
    (world, notifications)
}

fn relay<S: EventSink>(world: &World, sink: S, log: &MemoryLog, signals: Signals) -> Relay<Arc<TestLog>, S> {
    let log = log.clone();
    let open = move || {
        let log = log.clone();
        async move { Ok(log.broadcast()) }
    };
    Relay::new(Arc::clone(&world.log), sink, open, signals)
}

/// The notifications in the log, by audience.
fn published(log: &MemoryLog) -> BTreeMap<String, Vec<Notification>> {
    let mut all: BTreeMap<String, Vec<Notification>> = BTreeMap::new();
    for partition in (0..3).map(Partition) {
        for record in log.records(partition) {
            let notification: Notification = serde_json::from_slice(&record.value).unwrap();
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            assert_eq!(key, notification.audience.key());
            all.entry(key).or_default().push(notification);
        }
    }
    all
}

/// Checks that each alert is published once, and that those of one audience are in order.
async fn check(world: &World, log: &MemoryLog, context: &str) {
    let mut expected: BTreeMap<String, Vec<Notification>> = BTreeMap::new();
    for alert in world.alerts().await {
        expected.entry(alert.audience.key()).or_default().push(alert);
    }
    let got = published(log);
    let ids: Vec<_> = got.values().flatten().map(|n| n.id.as_str()).collect();
    assert!(ids.len() > 200, "{context}: too few alerts");
    let once: HashSet<_> = ids.iter().collect();
    assert_eq!(once.len(), ids.len(), "{context}: an alert is published twice");
    assert_eq!(got, expected, "{context}");
}

#[tokio::test]
async fn publishes_all_alerts_in_order_while_it_holds_the_lease() {
    let (world, log) = full(1).await;
    let follower = world.follower();
    let mut relay = relay(&world, log.clone(), &log, follower.signals());
    assert_eq!(relay.run_once().await.unwrap(), Relayed::Standby);
    assert!(positions(&follower).await.is_some());
    assert_eq!(relay.drain().await.unwrap(), world.alerts().await.len());
    assert_eq!(relay.run_once().await.unwrap(), Relayed::Rows { marked: 0, skipped: 0 });
    check(&world, &log, "in one go").await;
}

#[tokio::test]
async fn publishes_nothing_twice_when_killed_before_marking() {
    let mut skipped_in_all = 0;
    for seed in 2..8 {
        let (world, log) = full(seed).await;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        world.log.fail_one_in.store(8, Ordering::Relaxed);
        'processes: loop {
            world.outlive_lease();
            let follower = world.follower();
            if positions(&follower).await.is_none() {
                continue;
            }
            let mut relay = relay(&world, log.clone(), &log, follower.signals());
            loop {
                // The kill comes after some polls. Sometimes that is between publishing and
                // marking.
                let polls = rng.random_range(1..12);
                match (AtMost { call: Box::pin(relay.run_once()), polls }).await {
                    None if rng.random() => continue 'processes,
                    None | Some(Err(_)) => {}
                    Some(Ok(Relayed::Rows { marked: 0, .. })) => break 'processes,
                    Some(Ok(Relayed::Rows { skipped, .. })) => skipped_in_all += skipped,
                    Some(Ok(Relayed::Standby)) => panic!("seed {seed}: the follower holds the lease"),
                }
            }
        }
        check(&world, &log, &format!("seed {seed}")).await;
    }
    assert!(skipped_in_all > 100, "{skipped_in_all} rows were already published when they were marked");
}

/// A sink that sometimes takes all records and reports an uncertain outcome, and sometimes refuses
/// some.
struct Doubtful {
    log: MemoryLog,
    calls: AtomicU32,
}

#[async_trait]
impl EventSink for Doubtful {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        match self.calls.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => {
                let outcomes = self.log.send(batch).await;
                let doubt = |(i, outcome)| if i % 2 == 0 { Err(Error::uncertain("lost")) } else { outcome };
                outcomes.into_iter().enumerate().map(doubt).collect()
            }
            1 => {
                let refused = batch.len() / 2;
                let rest = batch.len() - refused;
                let mut outcomes = self.log.send(batch.into_iter().take(rest).collect()).await;
                outcomes.extend((0..refused).map(|_| Err(Error::retriable("full"))));
                outcomes
            }
            _ => self.log.send(batch).await,
        }
    }
    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn reads_back_after_an_uncertain_outcome() {
    let (world, log) = full(9).await;
    let follower = world.follower();
    assert!(positions(&follower).await.is_some());
    let sink = Doubtful { log: log.clone(), calls: AtomicU32::new(0) };
    let mut relay = relay(&world, sink, &log, follower.signals());
    for _ in 0..1_000 {
        if let Ok(Relayed::Rows { marked: 0, .. }) = relay.run_once().await {
            break;
        }
    }
    check(&world, &log, "doubtful").await;
}

/// Applies all entries to a follower, always in the same order.
async fn all_at_once(world: &World, follower: &impl Follower) {
    for (partition, end) in world.history.positions().await.unwrap().iter() {
        let JournalRead::Entries(entries) = world.history.journal(partition, 0, usize::MAX).await.unwrap()
        else {
            panic!("the journal is all there")
        };
        assert_eq!(follower.apply(partition, &entries).await.unwrap(), end);
    }
    follower.tick().await.unwrap();
}

/// An alert log that is restored from an old backup raises alerts again that are already published.
#[tokio::test]
async fn does_not_publish_again_after_a_restore() {
    let config = TrafficOptions::default().seed(11).count(4_000).users(300).posts(100);
    let (before, restored) = (World::new(11), World::new(11));
    let log = MemoryLog::new(3, before.clock.clone());
    let mut raised = Vec::new();
    for world in [&before, &restored] {
        world.fill(&config).await;
        let follower = world.follower();
        assert!(positions(&follower).await.is_some());
        let mut relay = relay(world, log.clone(), &log, follower.signals());
        assert_eq!(relay.run_once().await.unwrap(), Relayed::Rows { marked: 0, skipped: 0 });
        all_at_once(world, &follower).await;
        raised.push(relay.drain().await.unwrap());
    }
    assert!(raised[0] > 50 && raised[0] == raised[1], "{raised:?}");
    assert_eq!(published(&log).values().map(Vec::len).sum::<usize>(), raised[0]);
}

#[tokio::test(start_paused = true)]
async fn runs_until_shutdown() {
    let (world, log) = full(10).await;
    world.log.fail_one_in.store(4, Ordering::Relaxed);
    let follower = world.follower();
    let mut relay = relay(&world, log.clone(), &log, follower.signals());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { relay.run(shutdown).await }
    });
    while positions(&follower).await.is_none() {}
    let total = world.alerts().await.len();
    while published(&log).values().map(Vec::len).sum::<usize>() < total {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
    check(&world, &log, "run").await;
}
