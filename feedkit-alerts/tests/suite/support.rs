//! What the tests have in common: traffic as effects, and rules run over effects in plain form.

use feedkit_alerts::RuleSet;
use feedkit_alerts::engine::{Limits, Rules};
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

/// An effect; its offset matters to no rule.
pub(crate) fn effect(who: &str, what: &str, kind: EventKind, millis: i64) -> Effect {
    Effect { offset: 0, user: user(who), post: post(what), kind, time: Timestamp::from_millis(millis) }
}

/// The effects of some traffic, one at a time, as one partition would have them.
pub(crate) fn effects(config: &TrafficOptions) -> impl Iterator<Item = (Effect, Label)> {
    let mut model = Model::new(JsonCodec::default(), 1);
    config.traffic().enumerate().filter_map(move |(offset, item)| {
        let record = Record { offset: offset as u64, time: item.time, key: None, value: item.value.clone() };
        model.feed(Partition(0), &record);
        Some((model.effects.get_mut(&Partition(0))?.pop()?, item.label))
    })
}

/// Rules that are handed effects in steps of at most so much event time, or so many effects.
pub(crate) struct Plain {
    rules: Rules,
    held: Vec<Effect>,
    watermark: Timestamp,
    step_ms: i64,
}

impl Plain {
    pub(crate) fn new(set: &RuleSet, step_ms: i64) -> Self {
        let rules = Rules::new(set, &Limits::default()).unwrap();
        Plain { rules, held: Vec::new(), watermark: Timestamp::EPOCH, step_ms }
    }

    /// Takes one effect in, and runs a step first if it begins a new one.
    pub(crate) fn feed(&mut self, effect: Effect) -> Vec<Notification> {
        let due = self.held.first().is_some_and(|first| {
            effect.time.as_millis() - first.time.as_millis() >= self.step_ms || self.held.len() >= 10_000
        });
        let raised = if due { self.step() } else { Vec::new() };
        self.held.push(effect);
        raised
    }

    /// Runs a step over what is held.
    pub(crate) fn step(&mut self) -> Vec<Notification> {
        self.held.sort_by_key(|e| e.time);
        self.watermark = self.held.last().map_or(self.watermark, |e| e.time.max(self.watermark));
        let hasher = self.rules.hasher();
        let hashed: Vec<_> = self.held.iter().map(|e| hasher.hash(e)).collect();
        let raised = self.rules.run(&hashed, self.watermark);
        self.held.clear();
        raised
    }

    pub(crate) fn keys(&self) -> usize {
        self.rules.keys()
    }
}

/// What a set raises over effects, in steps of a tenth of a second.
pub(crate) fn run(set: &RuleSet, effects: impl IntoIterator<Item = Effect>) -> Vec<Notification> {
    let mut plain = Plain::new(set, 100);
    let mut raised: Vec<_> = effects.into_iter().flat_map(|e| plain.feed(e)).collect();
    raised.extend(plain.step());
    raised
}

/// Runs `test` for each seed, on as many threads as there are processors; results in the order of seeds.
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
