//! A history full of traffic, an alert log that fails as told, and somebody who drives followers over it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_alerts::engine::{Limits, Rules};
use feedkit_alerts::rules::{Milestone, MilestoneConfig, Spike, SpikeConfig, UserRate, UserRateConfig};
use feedkit_alerts::{AlertFollower, AlertOptions, RuleSet};
use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
use feedkit_core::alert_log::{AlertLog, AlertStep, Recovered, RuleStates};
use feedkit_core::codec::{Codec, Place};
use feedkit_core::effect::{Effect, LoggedEvent};
use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::{CommitBatch, History, JournalRead};
use feedkit_core::lease::Lease;
use feedkit_core::memory::{MemoryAlertLog, MemoryHistory};
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::outbox::OutboxRow;
use feedkit_core::source::Record;
use feedkit_core::testkit::ManualClock;
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{
    Alerts, Error, ErrorKind, JsonCodec, Offset, Outbox, Partition, Positions, Result, Timestamp,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const PARTITIONS: u32 = 4;
const LOG: u128 = 7;

pub(crate) type TestFollower = AlertFollower<Arc<TestLog>, Arc<MemoryHistory>>;

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
            set: sensitive(),
            owners: AtomicU32::new(0),
        }
    }

    /// Commits some traffic, in batches of random sizes, the last of each partition at the log's end.
    pub(crate) async fn fill(&self, config: &TrafficOptions) {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut events: BTreeMap<Partition, Vec<LoggedEvent>> = BTreeMap::new();
        let mut next: BTreeMap<Partition, Offset> = BTreeMap::new();
        for item in config.traffic() {
            let hash = xxhash_rust::xxh3::xxh3_64(item.key.as_bytes());
            let partition = Partition((hash % u64::from(PARTITIONS)) as u32);
            let offset = next.entry(partition).or_default();
            // Logs have holes.
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

    /// The same, with other options.
    pub(crate) fn follower_with(&self, change: impl FnOnce(&mut AlertOptions)) -> TestFollower {
        let number = self.owners.fetch_add(1, Ordering::Relaxed);
        let mut options = AlertOptions {
            owner: format!("owner-{number}"),
            max_hold: Duration::from_secs(1),
            max_pending: 1_000,
            max_step: [7, 40, 150][number as usize % 3],
            snapshot_effects: 700,
            max_dirty: 150,
            limits: Limits { watched: 20, exact_cached: 100 },
            ..AlertOptions::default()
        };
        change(&mut options);
        let (log, history) = (Arc::clone(&self.log), Arc::clone(&self.history));
        AlertFollower::new(log, history, self.set.clone(), Arc::new(self.clock.clone()), options).unwrap()
    }

    /// Lets the lease of a process that died run out.
    pub(crate) fn outlive_lease(&self) {
        self.clock.advance(Duration::from_secs(11));
    }

    /// The alerts kept, the oldest first.
    pub(crate) async fn alerts(&self) -> Vec<Notification> {
        let mut alerts = self.log.inner.alerts(None, usize::MAX).await.unwrap();
        alerts.reverse();
        alerts.into_iter().map(|(_, notification)| notification).collect()
    }

    /// What the rules raise over the recorded order, run in one go in the plainest form.
    pub(crate) async fn oracle(&self) -> Vec<Notification> {
        let mut effects: BTreeMap<Partition, Vec<Effect>> = BTreeMap::new();
        for partition in (0..PARTITIONS).map(Partition) {
            let JournalRead::Entries(entries) = self.history.journal(partition, 0, usize::MAX).await.unwrap()
            else {
                panic!("the journal is there from its beginning");
            };
            effects.insert(partition, entries.iter().flat_map(|e| e.effects.clone()).collect());
        }
        let mut rules = Rules::new(&self.set, &Limits { watched: 20, exact_cached: usize::MAX }).unwrap();
        let hasher = rules.hasher();
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
            // Of many effects a tenth may lie beyond what the step has come to.
            let beyond = if some.len() < 20 { 0 } else { some.len() / 10 };
            let come_to = some.len().checked_sub(1 + beyond).map(|at| some[at].1.time);
            watermark = come_to.map_or(watermark, |time| time.max(watermark));
            assert_eq!(step.watermark, watermark, "step {}", step.number);
            // What the watermark brings comes after all effects, some of which may be ahead of it.
            let of_effect = |n: &&Notification| n.kind != "FRAUD_RESOLVED" && n.occurred_at != step.watermark;
            let observed: Vec<_> = step.alerts.iter().filter(of_effect).collect();
            let in_order = observed.windows(2).all(|pair| pair[0].occurred_at <= pair[1].occurred_at);
            assert!(in_order, "step {} raises in another order than the effects'", step.number);
            let hashed: Vec<_> = some.iter().map(|(_, e)| hasher.hash(e)).collect();
            let raised = rules.run(&hashed, step.watermark);
            alerts.extend(raised.into_iter().filter(|n| seen.insert(n.id.clone())));
        }
        assert_eq!(positions, self.history.positions().await.unwrap(), "everything is consumed");
        alerts
    }
}

/// The standard rules, set so that much is raised and much evicted, and a rule that notices each eviction.
fn sensitive() -> RuleSet {
    let spike = SpikeConfig {
        window: Duration::from_secs(2),
        min_likes: 4,
        min_factor: 1.5,
        min_score: 1.0,
        baseline: Duration::from_secs(30),
        warm_up: Duration::ZERO,
        cooldown: Duration::from_secs(5),
        max_keys: 60,
        ..SpikeConfig::default()
    };
    let user_rate = UserRateConfig {
        max_actions: 2,
        cooldown: Duration::from_secs(20),
        max_keys: 300,
        ..Default::default()
    };
    let milestone = MilestoneConfig { thresholds: vec![1, 2, 3, 5, 8, 13, 50], ..Default::default() };
    RuleSet::empty()
        .with(Milestone::new(&milestone).unwrap())
        .with(Spike::new(&spike).unwrap())
        .with(Third)
        .with(UserRate::new(&user_rate).unwrap())
}

/// Raises every third effect of a post, as far as it remembers.
struct Third;

impl AlertRule for Third {
    type State = u32;
    fn name(&self) -> &str {
        "third"
    }
    fn keeping(&self) -> Keeping {
        Keeping::Evictable { max_keys: 40 }
    }
    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        Some(Key::Post(&effect.post))
    }
    fn observe(&self, count: &mut u32, effect: &Effect, context: &mut dyn RuleContext) {
        *count += 1;
        if count.is_multiple_of(3) {
            context.raise(Notification {
                id: format!("third:{}:{}:{}", effect.post, effect.user, effect.time.as_millis()),
                kind: "THIRD".into(),
                severity: Severity::Warning,
                audience: Audience::Post(effect.post.clone()),
                title: format!("{count}"),
                data: Default::default(),
                occurred_at: effect.time,
            });
        }
    }
}

/// Drives followers as a pipeline does, and kills them at random.
pub(crate) struct Driver {
    pub(crate) rng: ChaCha8Rng,
    /// One in so many calls is dropped half-way; 0 for none.
    pub(crate) drop_one_in: u32,
    /// One in so many calls is the last of its process; 0 for none.
    pub(crate) kill_one_in: u32,
    pub(crate) kills: u32,
    pub(crate) drops: u32,
}

impl Driver {
    pub(crate) fn new(seed: u64) -> Self {
        Driver { rng: ChaCha8Rng::seed_from_u64(seed), drop_one_in: 0, kill_one_in: 0, kills: 0, drops: 0 }
    }

    fn once_in(&mut self, n: u32) -> bool {
        n > 0 && self.rng.random_range(0..n) == 0
    }

    /// Goes on until everything is written, and closes.
    pub(crate) async fn finish(&mut self, world: &World) {
        let mut follower = world.follower();
        let mut wanted: Option<Positions> = None;
        let ends = world.history.positions().await.unwrap();
        for call in 0.. {
            assert!(call < 100_000, "it does not come to an end");
            if self.once_in(self.kill_one_in) {
                self.kills += 1;
                (follower, wanted) = (world.follower(), None);
                world.outlive_lease();
            }
            let Some(at) = &mut wanted else {
                wanted = positions(&follower).await;
                if wanted.is_none() {
                    world.outlive_lease();
                }
                continue;
            };
            let partition = Partition(self.rng.random_range(0..PARTITIONS));
            if at.of(partition) >= ends.of(partition) {
                world.clock.advance(Duration::from_millis(300));
                if self.settle(follower.tick()).await.is_none() {
                    wanted = None;
                }
                if positions(&follower).await.as_ref() == Some(&ends) && close(&follower).await {
                    return;
                }
                continue;
            }
            let max = self.rng.random_range(1..300);
            let read = world.history.journal(partition, at.of(partition), max).await.unwrap();
            let JournalRead::Entries(entries) = read else { panic!("the journal is all there") };
            match self.settle(follower.apply(partition, &entries)).await {
                Some(Ok(next)) => at.set(partition, next),
                Some(Err(())) => {}
                None => wanted = None,
            }
        }
    }

    /// Makes a call, or some of it. `Err` is to be repeated; `None` means to ask for the position first.
    async fn settle<T>(&mut self, call: impl Future<Output = Result<T>> + Send) -> Option<Result<T, ()>> {
        let polls = if self.once_in(self.drop_one_in) { self.rng.random_range(1..6) } else { usize::MAX };
        match (AtMost { call: Box::pin(call), polls }).await {
            Some(Ok(value)) => Some(Ok(value)),
            Some(Err(e)) if e.is_retriable() => Some(Err(())),
            Some(Err(e)) => {
                assert!(
                    matches!(e.kind(), ErrorKind::Gap | ErrorKind::Fenced | ErrorKind::Uncertain),
                    "{e:?}"
                );
                None
            }
            None => {
                self.drops += 1;
                None
            }
        }
    }
}

/// Where a follower stands; `None` while it stands by, or could not say.
pub(crate) async fn positions(follower: &TestFollower) -> Option<Positions> {
    let mut positions = Positions::new();
    for partition in (0..PARTITIONS).map(Partition) {
        match follower.position(partition).await {
            Ok(FollowerPosition::At(offset)) => positions.set(partition, offset),
            Ok(FollowerPosition::Standby) => return None,
            Ok(FollowerPosition::Rebuild(reason)) => panic!("to be rebuilt: {reason}"),
            Err(e) => {
                assert!(e.is_retriable(), "{e:?}");
                return None;
            }
        }
    }
    Some(positions)
}

async fn close(follower: &TestFollower) -> bool {
    follower.close().await.is_ok()
}

/// Polls a call so many times, then drops it.
pub(crate) struct AtMost<'a, T> {
    pub(crate) call: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    pub(crate) polls: usize,
}

impl<T> Future for AtMost<'_, T> {
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.call.as_mut().poll(cx).map(Some)
    }
}

/// An alert log that notes every step it has written, gives way before and after each write, and fails now and
/// then.
pub(crate) struct TestLog {
    pub(crate) inner: MemoryAlertLog,
    pub(crate) steps: Mutex<Vec<AlertStep>>,
    rng: Mutex<ChaCha8Rng>,
    /// One in so many calls fails; 0 for none.
    pub(crate) fail_one_in: AtomicU32,
    pub(crate) snapshots: AtomicU32,
    /// Snapshots stand still here while this is held.
    pub(crate) in_snapshot: tokio::sync::Mutex<()>,
    /// Called before exact states are read.
    pub(crate) before_reading: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

enum Fate {
    Fine,
    Fails,
    /// Uncertain, and not done.
    Lost,
    /// Uncertain, and done.
    Done,
}

impl TestLog {
    fn new(seed: u64) -> Self {
        TestLog {
            inner: MemoryAlertLog::new(),
            steps: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(!seed)),
            fail_one_in: AtomicU32::new(0),
            snapshots: AtomicU32::new(0),
            in_snapshot: tokio::sync::Mutex::new(()),
            before_reading: Mutex::default(),
        }
    }

    /// How many steps were written.
    pub(crate) fn written(&self) -> usize {
        self.steps.lock().unwrap().len()
    }

    fn fate(&self) -> Fate {
        let one_in = self.fail_one_in.load(Ordering::Relaxed);
        let mut rng = self.rng.lock().unwrap();
        if one_in == 0 || rng.random_range(0..one_in) != 0 {
            return Fate::Fine;
        }
        match rng.random_range(0..3) {
            0 => Fate::Fails,
            1 => Fate::Lost,
            _ => Fate::Done,
        }
    }

    /// A read, which has nothing to be uncertain of.
    fn away(&self) -> Result<()> {
        match self.fate() {
            Fate::Fine => Ok(()),
            _ => Err(Error::retriable("the test's alert log is away")),
        }
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::task::yield_now().await;
        let fate = self.fate();
        match fate {
            Fate::Fails => return Err(Error::retriable("the test's alert log is away")),
            Fate::Lost => return Err(Error::uncertain("the connection broke")),
            Fate::Fine | Fate::Done => {}
        }
        let result = write.await?;
        tokio::task::yield_now().await;
        match fate {
            Fate::Done => Err(Error::uncertain("the connection broke")),
            _ => Ok(result),
        }
    }
}

#[async_trait]
impl AlertLog for TestLog {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        self.away()?;
        self.inner.acquire(owner, now, ttl).await
    }
    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
        self.away()?;
        self.inner.renew(lease, now, ttl).await
    }
    async fn release(&self, lease: &Lease) -> Result<()> {
        self.inner.release(lease).await
    }
    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        self.away()?;
        self.inner.recover(lease).await
    }
    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()> {
        let write = async {
            self.inner.step(lease, step).await?;
            self.steps.lock().unwrap().push(step.clone());
            Ok(())
        };
        self.write(write).await
    }
    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()> {
        drop(self.in_snapshot.lock().await);
        self.write(self.inner.save_snapshot(lease, step, positions, states)).await?;
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        self.away()?;
        if let Some(before) = &mut *self.before_reading.lock().unwrap() {
            before();
        }
        self.inner.exact_states(rule, keys).await
    }
}

#[async_trait]
impl Outbox for TestLog {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        self.away()?;
        self.inner.outbox(limit).await
    }
    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()> {
        self.write(self.inner.mark_published(lease, seq, positions)).await
    }
    async fn published(&self) -> Result<Positions> {
        self.away()?;
        self.inner.published().await
    }
}

#[async_trait]
impl Alerts for TestLog {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        self.inner.alerts(before, limit).await
    }
}
