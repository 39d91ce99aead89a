//! A history full of traffic, with followers and an oracle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use feedkit_alerts::{AlertFollower, AlertOptions, RuleRunner, RuleSet};
use feedkit_core::codec::{Codec, Place};
use feedkit_core::effect::{Effect, LoggedEvent};
use feedkit_core::history::{CommitBatch, History, JournalRead};
use feedkit_core::memory::MemoryHistory;
use feedkit_core::notification::Notification;
use feedkit_core::source::Record;
use feedkit_core::testkit::ManualClock;
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{Alerts, JsonCodec, Offset, Partition, Positions, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::driver::TestFollower;
use crate::sensitive::sensitive_rules;
use crate::test_log::TestLog;

pub(crate) const PARTITIONS: u32 = 4;
const LOG: u128 = 7;

/// Maximum number of watched keys, of followers and of the oracle.
const MAX_WATCHED: usize = 20;

/// A history full of traffic, with an alert log that followers share.
pub(crate) struct World {
    pub(crate) history: Arc<MemoryHistory>,
    pub(crate) log: Arc<TestLog>,
    pub(crate) clock: ManualClock,
    pub(crate) set: RuleSet,
    owners: AtomicU32,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
        World {
            history: Arc::new(MemoryHistory::new()),
            log: Arc::new(TestLog::new(seed)),
            clock,
            set: sensitive_rules(),
            owners: AtomicU32::new(0),
        }
    }

    /// Commits some traffic in batches of random sizes. The last batch of each partition is at the
    /// log's end.
    pub(crate) async fn fill(&self, config: &TrafficOptions) {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut events: BTreeMap<Partition, Vec<LoggedEvent>> = BTreeMap::new();
        let mut next: BTreeMap<Partition, Offset> = BTreeMap::new();
        for item in config.traffic() {
            let hash = xxhash_rust::xxh3::xxh3_64(item.key.as_bytes());
            let partition = Partition((hash % u64::from(PARTITIONS)) as u32);
            let offset = next.entry(partition).or_default();
            // Some offsets are missing, as in a real log.
            *offset += if rng.random_range(0..20) == 0 { 2 } else { 1 };
            let record = Record { offset: *offset - 1, time: item.time, key: None, value: item.value };
            if let Ok(event) = JsonCodec::default().decode(&Place { log: LOG, partition }, &record) {
                events.entry(partition).or_default().push(LoggedEvent { offset: record.offset, event });
            }
        }
        for (partition, events) in events {
            let claim = self.history.claim(partition, "test").await.unwrap();
            let (mut from, end) = (claim.position, next[&partition]);
            let mut rest = events.into_iter().filter(|e| e.offset >= claim.position).peekable();
            while from < end {
                let to = (from + rng.random_range(1..400)).min(end);
                let mut some = Vec::new();
                while let Some(event) = rest.next_if(|e| e.offset < to) {
                    some.push(event);
                }
                let batch = CommitBatch {
                    partition,
                    epoch: claim.epoch,
                    log: LOG,
                    from,
                    to,
                    at_end: to == end,
                    events: some,
                    rejected: Vec::new(),
                    last: None,
                    now: self.clock_now(),
                };
                self.history.commit(Arc::new(batch)).await.unwrap();
                from = to;
            }
        }
    }

    fn clock_now(&self) -> Timestamp {
        feedkit_core::Clock::now(&self.clock)
    }

    /// A follower in a new process.
    pub(crate) fn follower(&self) -> TestFollower {
        self.follower_with(|_| {})
    }

    /// The same with other options.
    pub(crate) fn follower_with(&self, change: impl FnOnce(&mut AlertOptions)) -> TestFollower {
        let number = self.owners.fetch_add(1, Ordering::Relaxed);
        let mut options = AlertOptions::default();
        options.owner = format!("owner-{number}");
        options.max_hold = Duration::from_secs(1);
        options.max_pending = 1_000;
        options.max_step = [7, 40, 150][number as usize % 3];
        options.snapshot_effects = 700;
        options.max_dirty = 150;
        options.max_watched = MAX_WATCHED;
        options.max_cached = 100;
        change(&mut options);
        let (log, history) = (Arc::clone(&self.log), Arc::clone(&self.history));
        AlertFollower::new(log, history, self.set.clone(), Arc::new(self.clock.clone()), options).unwrap()
    }

    /// Lets the lease of a process that died expire.
    pub(crate) fn outlive_lease(&self) {
        self.clock.advance(Duration::from_secs(11));
    }

    /// The stored alerts, the oldest first.
    pub(crate) async fn alerts(&self) -> Vec<Notification> {
        let mut alerts = self.log.inner.alerts(None, usize::MAX).await.unwrap();
        alerts.reverse();
        alerts.into_iter().map(|(_, notification)| notification).collect()
    }

    /// What the rules raise when they run over the recorded order in one go.
    pub(crate) async fn oracle(&self) -> Vec<Notification> {
        let mut effects: BTreeMap<Partition, Vec<Effect>> = BTreeMap::new();
        for partition in (0..PARTITIONS).map(Partition) {
            let JournalRead::Entries(entries) = self.history.journal(partition, 0, usize::MAX).await.unwrap()
            else {
                panic!("the journal is there from its beginning");
            };
            effects.insert(partition, entries.iter().flat_map(|e| e.effects.clone()).collect());
        }
        let mut options = AlertOptions::default();
        options.max_watched = MAX_WATCHED;
        let mut rules = RuleRunner::new(&self.set, &options).unwrap();
        let (mut positions, mut watermark) = (Positions::new(), Timestamp::EPOCH);
        let (mut seen, mut alerts) = (std::collections::HashSet::new(), Vec::new());
        let steps = self.log.steps.lock().unwrap().clone();
        for (i, step) in steps.iter().enumerate() {
            assert_eq!(step.number, i as u64 + 1);
            let mut some = Vec::new();
            for range in &step.consumed {
                assert_eq!(range.from, positions.of(range.partition), "step {}", step.number);
                positions.set(range.partition, range.to);
                let within = |e: &&Effect| (range.from..range.to).contains(&e.offset);
                some.extend(effects[&range.partition].iter().filter(within).map(|e| (range.partition, e)));
            }
            some.sort_by_key(|(partition, e)| (e.time, *partition, e.offset));
            // If a step has many effects, a tenth of them may be later than its watermark.
            let later = if some.len() < 20 { 0 } else { some.len() / 10 };
            let latest = some.len().checked_sub(1 + later).map(|at| some[at].1.time);
            watermark = latest.map_or(watermark, |time| time.max(watermark));
            assert_eq!(step.watermark, watermark, "step {}", step.number);
            // Alerts of the watermark come after those of all effects, some of which may be later.
            let of_effect = |n: &&Notification| n.kind != "FRAUD_RESOLVED" && n.occurred_at != step.watermark;
            let observed: Vec<_> = step.alerts.iter().filter(of_effect).collect();
            let in_order = observed.windows(2).all(|pair| pair[0].occurred_at <= pair[1].occurred_at);
            assert!(in_order, "step {} does not raise in the order of the effects", step.number);
            let raised = rules.step(some.iter().map(|(_, e)| *e), step.watermark);
            alerts.extend(raised.into_iter().filter(|n| seen.insert(n.id.clone())));
        }
        assert_eq!(positions, self.history.positions().await.unwrap(), "everything is consumed");
        alerts
    }
}
