//! All rules of a set at work.

use std::sync::Arc;

use feedkit_core::alert::OwnedKey;
use feedkit_core::history::PostTotals;
use feedkit_core::notification::Notification;
use feedkit_core::{Result, Timestamp};

use super::hashed::{HashedEffect, KeyHasher};
use super::running::{Limits, RunningExact, RunningRule, StartRule};
use super::snapshot::{self, RulesSnapshot};
use crate::RuleSet;

/// Number of effects that one rule sees before the next rule's turn. They stay in the processor's
/// nearest cache.
pub(crate) const CHUNK: usize = 1024;

/// All rules of a set at work: effects go in, notifications come out.
pub(crate) struct Rules {
    running: Vec<RunningRule>,
    hasher: KeyHasher,
}

/// A notification, and its place in the step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raised {
    /// The index of the effect in the step, or the number of effects for what the watermark raised.
    pub(crate) at: usize,
    pub(crate) notification: Notification,
}

/// Exact states that have to be read before the rules run.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The index of the rule.
    pub(crate) rule: usize,
    /// The keys with their hashes.
    pub(crate) keys: Vec<(u128, OwnedKey)>,
}

impl Rules {
    /// The rules of `set`, which have seen no effects yet.
    pub(crate) fn new(set: &RuleSet, limits: &Limits) -> Result<Self> {
        let mut rules = Self::with_hasher(set, limits, KeyHasher::random())?;
        rules.exact_mut().for_each(|rule| rule.begin_empty());
        Ok(rules)
    }

    /// The rules with the states of a snapshot, and the snapshot's watermark.
    pub(crate) fn restore(
        set: &RuleSet,
        limits: &Limits,
        states: &[(String, Vec<u8>)],
    ) -> Result<(Self, Timestamp)> {
        let (hasher, watermark) = snapshot::read_common(states)?;
        let mut rules = Self::with_hasher(set, limits, hasher)?;
        snapshot::restore(&mut rules.running, states)?;
        Ok((rules, watermark))
    }

    fn with_hasher(set: &RuleSet, limits: &Limits, hasher: KeyHasher) -> Result<Self> {
        set.check()?;
        let start = |rule: &Arc<dyn StartRule>| Arc::clone(rule).start(hasher, limits);
        Ok(Rules { running: set.rules().iter().map(start).collect::<Result<_>>()?, hasher })
    }

    /// Hashes the names of effects.
    pub(crate) fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// Runs all rules over a part of a step, one rule after the other. The exact states that the
    /// effects need must be in memory. `base` is the index of the first effect in the step.
    pub(crate) fn observe(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>) {
        for rule in &mut self.running {
            rule.common_mut().observe(base, effects, raised);
        }
    }

    /// Ends a step with this number of effects: tells the rules the watermark, and orders what they
    /// raised by effect, then by rule.
    pub(crate) fn finish(
        &mut self,
        effects: usize,
        watermark: Timestamp,
        mut raised: Vec<Raised>,
    ) -> Vec<Notification> {
        for rule in &mut self.running {
            rule.common_mut().advance(effects, watermark, &mut raised);
        }
        raised.sort_by_key(|r| r.at);
        raised.into_iter().map(|r| r.notification).collect()
    }

    /// The exact states that these effects need and that are not in memory.
    pub(crate) fn missing(&self, effects: &[HashedEffect<'_>]) -> Vec<Missing> {
        let mut all = Vec::new();
        for (rule, running) in self.running.iter().enumerate() {
            let Some(exact) = running.exact() else { continue };
            let mut keys = Vec::new();
            exact.missing(effects, &mut keys);
            if !keys.is_empty() {
                all.push(Missing { rule, keys });
            }
        }
        all
    }

    /// The name of the rule with this index.
    pub(crate) fn name(&self, rule: usize) -> &str {
        self.running[rule].common().name()
    }

    /// Adds a state that was missing. `None` means that the key has no state yet.
    pub(crate) fn load(
        &mut self,
        rule: usize,
        (hash, key): (u128, OwnedKey),
        state: Option<&[u8]>,
    ) -> Result<()> {
        match self.running[rule].exact_mut() {
            Some(rule) => rule.load(hash, key, state).map_err(|e| e.context(format!("rule {}", rule.name()))),
            None => Ok(()),
        }
    }

    /// Sets the exact rules' states of one post from its totals.
    pub(crate) fn rebuild(&mut self, totals: &PostTotals, raised: &mut Vec<Raised>) {
        self.exact_mut().for_each(|rule| rule.rebuild(totals, raised));
    }

    /// The number of states in memory.
    pub(crate) fn keys(&self) -> usize {
        self.running.iter().map(|rule| rule.common().keys()).sum()
    }

    /// The number of exact states that only this memory holds.
    pub(crate) fn dirty(&self) -> usize {
        self.running.iter().filter_map(RunningRule::exact).map(|rule| rule.dirty()).sum()
    }

    /// The rules' states as a snapshot stores them, with the exact states that belong to it.
    pub(crate) fn snapshot(&self, watermark: Timestamp) -> Result<RulesSnapshot<'_>> {
        RulesSnapshot::new(&self.running, self.hasher, watermark)
    }

    /// The snapshot was stored.
    pub(crate) fn saved(&mut self) {
        self.exact_mut().for_each(|rule| rule.saved());
    }

    fn exact_mut(&mut self) -> impl Iterator<Item = &mut dyn RunningExact> {
        self.running.iter_mut().filter_map(RunningRule::exact_mut)
    }
}
