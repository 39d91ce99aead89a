//! What the tests share: traffic as effects, and rules that run over effects in memory.

use feedkit_alerts::{AlertOptions, RuleRunner, RuleSet};
use feedkit_core::effect::Effect;
use feedkit_core::notification::Notification;
use feedkit_core::source::Record;
use feedkit_core::testkit::Model;
use feedkit_core::traffic::{Label, TrafficOptions};
use feedkit_core::{EventKind, JsonCodec, Partition, PostId, Timestamp, UserId};

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn post(name: &str) -> PostId {
    PostId::new(name).unwrap()
}

/// An effect. No rule looks at its offset.
pub(crate) fn effect(who: &str, what: &str, kind: EventKind, millis: i64) -> Effect {
    Effect { offset: 0, user: user(who), post: post(what), kind, time: Timestamp::from_millis(millis) }
}

/// The effects of some traffic, one by one, as a single partition has them.
pub(crate) fn effects(config: &TrafficOptions) -> impl Iterator<Item = (Effect, Label)> {
    let mut model = Model::new(JsonCodec::default(), 1);
    config.traffic().enumerate().filter_map(move |(offset, item)| {
        let record = Record { offset: offset as u64, time: item.time, key: None, value: item.value.clone() };
        model.feed(Partition(0), &record);
        Some((model.effects.get_mut(&Partition(0))?.pop()?, item.label))
    })
}

/// Runs rules in steps. A step spans at most `step_ms` of event time, and has at most 10,000
/// effects.
pub(crate) struct Plain {
    rules: RuleRunner,
    held: Vec<Effect>,
    watermark: Timestamp,
    step_ms: i64,
}

impl Plain {
    pub(crate) fn new(set: &RuleSet, step_ms: i64) -> Self {
        let rules = RuleRunner::new(set, &AlertOptions::default()).unwrap();
        Plain { rules, held: Vec::new(), watermark: Timestamp::EPOCH, step_ms }
    }

    /// Adds one effect. Runs a step first if the effect begins a new one.
    pub(crate) fn feed(&mut self, effect: Effect) -> Vec<Notification> {
        let due = self.held.first().is_some_and(|first| {
            effect.time.as_millis() - first.time.as_millis() >= self.step_ms || self.held.len() >= 10_000
        });
        let raised = if due { self.step() } else { Vec::new() };
        self.held.push(effect);
        raised
    }

    /// Runs a step over the effects that are held.
    pub(crate) fn step(&mut self) -> Vec<Notification> {
        self.held.sort_by_key(|e| e.time);
        self.watermark = self.held.last().map_or(self.watermark, |e| e.time.max(self.watermark));
        let raised = self.rules.step(&self.held, self.watermark);
        self.held.clear();
        raised
    }

    pub(crate) fn states(&self) -> usize {
        self.rules.states()
    }
}

/// Runs a set over effects in steps of a tenth of a second, and returns what it raises.
pub(crate) fn run(set: &RuleSet, effects: impl IntoIterator<Item = Effect>) -> Vec<Notification> {
    let mut plain = Plain::new(set, 100);
    let mut raised: Vec<_> = effects.into_iter().flat_map(|e| plain.feed(e)).collect();
    raised.extend(plain.step());
    raised
}

/// Runs `test` for each seed, on as many threads as there are processors. Returns the results in
/// the order of the seeds.
pub(crate) fn by_seed<T: Send>(seeds: std::ops::Range<u64>, test: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= seeds.end {
                return done;
            }
            done.push((seed, test(seed)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().expect("a seed's test has failed")).collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, result)| result).collect()
}
