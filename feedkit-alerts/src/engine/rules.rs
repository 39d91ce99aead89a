use std::sync::Arc;

use feedkit_core::alert::OwnedKey;
use feedkit_core::alert_log::{ExactStates, Pieces, RuleStates};
use feedkit_core::history::PostTotals;
use feedkit_core::notification::Notification;
use feedkit_core::{ErrorKind, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::hashed::{HashedEffect, KeyHasher};
use super::running::{Limits, RunningRule};
use super::table::{corrupt, put, take};
use crate::RuleSet;

/// How many effects one rule sees before the next rule's turn: few enough to stay in the nearest cache.
pub(crate) const CHUNK: usize = 1024;

/// All rules of a set at work: effects in, notifications out. No I/O, no clock.
pub struct Rules {
    running: Vec<Box<dyn RunningRule>>,
    hasher: KeyHasher,
}

/// Something raised, and where in its step.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The effect's place in the step, or the step's length for what the watermark brought.
    pub at: usize,
    /// What was raised.
    pub notification: Notification,
}

/// What a snapshot keeps of the rules, and the exact states that belong to it; written when asked for.
pub struct RulesSnapshot<'r> {
    rules: &'r Rules,
    common: Vec<u8>,
}

/// Exact states to be read before the rules run.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Which of the rules.
    pub(crate) rule: usize,
    /// The keys, and their hashes.
    pub(crate) keys: Vec<(u128, OwnedKey)>,
}

/// Names the part of a snapshot that belongs to no rule.
const COMMON: &str = "";
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Common {
    seed: u64,
    watermark: Timestamp,
}

impl Rules {
    /// The rules of `set`, which have seen nothing yet.
    pub fn new(set: &RuleSet, limits: &Limits) -> Result<Self> {
        let mut rules = Self::with_hasher(set, limits, KeyHasher::random())?;
        rules.running.iter_mut().for_each(|rule| rule.begin_empty());
        Ok(rules)
    }

    /// The rules as a snapshot left them, and the watermark then.
    pub fn restore(
        set: &RuleSet,
        limits: &Limits,
        states: &[(String, Vec<u8>)],
    ) -> Result<(Self, Timestamp)> {
        let part = |name: &str| states.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice());
        let common = part(COMMON).ok_or_else(|| corrupt("has no head"))?;
        let (Common { seed, watermark }, _) = take(versioned(common)?)?;
        let mut rules = Self::with_hasher(set, limits, KeyHasher { seed })?;
        for rule in &mut rules.running {
            let Some(bytes) = part(rule.name()) else { continue };
            match versioned(bytes).and_then(|bytes| rule.restore(bytes)) {
                Ok(()) => {}
                // States that may be dropped at any time may be dropped because the rule's form has changed.
                Err(e) if e.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(rule = rule.name(), error = %e, "the rule's snapshot cannot be read: it starts anew");
                }
                Err(e) => return Err(e),
            }
        }
        Ok((rules, watermark))
    }

    fn with_hasher(set: &RuleSet, limits: &Limits, hasher: KeyHasher) -> Result<Self> {
        set.check()?;
        let start = |rule: &Arc<dyn super::DynRule>| Arc::clone(rule).start(hasher, limits);
        Ok(Rules { running: set.rules().iter().map(start).collect::<Result<_>>()?, hasher })
    }

    /// Hashes the names of effects.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// Runs a whole step over effects in their order, all exact states being in memory or new.
    pub fn run(&mut self, effects: &[HashedEffect<'_>], watermark: Timestamp) -> Vec<Notification> {
        let mut raised = Vec::new();
        for (i, chunk) in effects.chunks(CHUNK).enumerate() {
            self.observe(i * CHUNK, chunk, &mut raised);
        }
        self.finish(effects.len(), watermark, raised)
    }

    /// Runs all rules over a part of a step, one rule after the other.
    pub(crate) fn observe(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>) {
        for rule in &mut self.running {
            rule.observe(base, effects, raised);
        }
    }

    /// Tells the rules of the watermark, and puts what was raised in order: by effect, then by rule.
    pub(crate) fn finish(
        &mut self,
        effects: usize,
        watermark: Timestamp,
        mut raised: Vec<Raised>,
    ) -> Vec<Notification> {
        for rule in &mut self.running {
            rule.advance(effects, watermark, &mut raised);
        }
        raised.sort_by_key(|r| r.at);
        raised.into_iter().map(|r| r.notification).collect()
    }

    /// The exact states that these effects concern and that are not in memory.
    pub(crate) fn missing(&self, effects: &[HashedEffect<'_>]) -> Vec<Missing> {
        let of = |rule: usize| {
            let mut keys = Vec::new();
            self.running[rule].missing(effects, &mut keys);
            Missing { rule, keys }
        };
        (0..self.running.len()).map(of).filter(|m| !m.keys.is_empty()).collect()
    }

    pub(crate) fn name(&self, rule: usize) -> &str {
        self.running[rule].name()
    }

    pub(crate) fn load(
        &mut self,
        rule: usize,
        (hash, key): (u128, OwnedKey),
        state: Option<&[u8]>,
    ) -> Result<()> {
        let rule = &mut self.running[rule];
        rule.load(hash, key, state).map_err(|e| e.context(format!("rule {}", rule.name())))
    }

    /// Sets exact rules' states of one post from its totals.
    pub(crate) fn rebuild(&mut self, totals: &PostTotals, raised: &mut Vec<Raised>) {
        self.running.iter_mut().for_each(|rule| rule.rebuild(totals, raised));
    }

    /// States in memory.
    pub fn keys(&self) -> usize {
        self.running.iter().map(|rule| rule.keys()).sum()
    }

    /// Exact states that only this memory holds.
    pub fn dirty(&self) -> usize {
        self.running.iter().map(|rule| rule.dirty()).sum()
    }

    /// What a snapshot keeps of the rules, and the exact states that belong to it.
    pub fn snapshot(&self, watermark: Timestamp) -> Result<RulesSnapshot<'_>> {
        let common = put(&Common { seed: self.hasher.seed, watermark }, vec![VERSION])?;
        Ok(RulesSnapshot { rules: self, common })
    }

    /// The snapshot has been kept.
    pub fn saved(&mut self) {
        self.running.iter_mut().for_each(|rule| rule.saved());
    }
}

impl RuleStates for RulesSnapshot<'_> {
    fn rules(&self) -> Vec<&str> {
        std::iter::once(COMMON).chain(self.rules.running.iter().map(|rule| rule.name())).collect()
    }

    fn state<'a>(&'a self, rule: &str) -> Pieces<'a> {
        if rule == COMMON {
            return Box::new(std::iter::once_with(|| Ok(self.common.clone())));
        }
        let running = self.rules.running.iter().find(|running| running.name() == rule);
        let version = std::iter::once_with(|| Ok(vec![VERSION]));
        Box::new(running.into_iter().flat_map(move |running| version.clone().chain(running.snapshot())))
    }

    fn exact(&self) -> ExactStates<'_> {
        Box::new(self.rules.running.iter().flat_map(|rule| rule.dirty_states()))
    }
}

fn versioned(bytes: &[u8]) -> Result<&[u8]> {
    match bytes {
        [VERSION, rest @ ..] => Ok(rest),
        _ => Err(corrupt(&format!("is of another version than {VERSION}"))),
    }
}
