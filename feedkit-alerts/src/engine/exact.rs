//! A rule whose states are never lost.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use feedkit_core::alert::OwnedKey;
use feedkit_core::alert_log::{ExactState, ExactStates, Pieces};
use feedkit_core::history::PostTotals;
use feedkit_core::{AlertRule, Error, Result, Timestamp};
use hashbrown::HashMap;
use serde::Serialize;

use super::BLOCK;
use super::context::Context;
use super::encoding::{corrupt, put, take};
use super::hashed::{HashedEffect, KeyHasher};
use super::rules::Raised;
use super::running::{Limits, Running, RunningExact};
use super::watched::Watched;

/// A rule whose states are never lost: a write-back cache over the alert log's exact states.
///
/// A state that changed since the last snapshot is *dirty* and stays in memory. The next snapshot
/// writes it in its own transaction, so the log always holds the states that belong to its
/// snapshot.
pub(super) struct Exact<R: AlertRule> {
    rule: Arc<R>,
    hasher: KeyHasher,
    limits: Limits,
    /// Boxed, because up to half of the map's places are empty, and because the map exists twice
    /// while it grows.
    states: HashMap<u128, Box<State<R::State>>, BuildHasherDefault<AlreadyHashed>>,
    watched: Watched,
    /// All states are in memory, so a state that is missing is new.
    complete: bool,
    dirty: usize,
}

struct State<S> {
    key: OwnedKey,
    state: S,
    dirty: bool,
    watched: bool,
}

/// The first byte of an exact state's row.
const VERSION: u8 = 1;

impl<R: AlertRule> Exact<R> {
    pub(super) fn new(rule: Arc<R>, hasher: KeyHasher, limits: &Limits) -> Self {
        Exact {
            rule,
            hasher,
            limits: *limits,
            states: HashMap::default(),
            watched: Watched::new(limits.watched),
            complete: false,
            dirty: 0,
        }
    }

    /// Works in blocks, so that the processor waits for many states at once.
    fn observe_block(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>) {
        let hash_of = |e: &HashedEffect<'_>| Some(e.of(self.rule.key(e.effect)?, &self.hasher));
        let touch = |hash| usize::from(self.states.get(&hash).is_some_and(|entry| entry.dirty));
        std::hint::black_box(effects.iter().filter_map(hash_of).map(touch).sum::<usize>());
        for (i, hashed) in effects.iter().enumerate() {
            let effect = hashed.effect;
            let Some(key) = self.rule.key(effect) else { continue };
            let hash = hashed.of(key, &self.hasher);
            let new =
                || State { key: key.to_owned(), state: R::State::default(), dirty: false, watched: false };
            let entry = self.states.entry(hash).or_insert_with(|| Box::new(new()));
            if entry.watched {
                self.watched.sample(hash, &effect.user);
            }
            let mut context = Context {
                at: base + i,
                raised,
                watched: &mut self.watched,
                hash,
                key,
                user: Some(&effect.user),
                is_watched: entry.watched,
                dropped: Vec::new(),
            };
            self.rule.observe(&mut entry.state, effect, &mut context);
            let Context { is_watched, dropped, .. } = context;
            entry.watched = is_watched;
            self.dirty += usize::from(!std::mem::replace(&mut entry.dirty, true));
            self.unwatch(dropped);
        }
    }

    fn unwatch(&mut self, hashes: Vec<u128>) {
        for hash in hashes {
            if let Some(state) = self.states.get_mut(&hash) {
                state.watched = false;
            }
        }
    }
}

impl<R: AlertRule> Running for Exact<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn observe(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>) {
        for (i, block) in effects.chunks(BLOCK).enumerate() {
            self.observe_block(base + i * BLOCK, block, raised);
        }
    }

    fn advance(&mut self, at: usize, watermark: Timestamp, raised: &mut Vec<Raised>) {
        if self.watched.is_empty() {
            return;
        }
        for (hash, key) in self.watched.keys() {
            // Watched states are loaded before the rules run, and they stay in memory.
            let Some(entry) = self.states.get_mut(&hash) else { continue };
            let mut context = Context {
                at,
                raised,
                watched: &mut self.watched,
                hash,
                key: key.as_key(),
                user: None,
                is_watched: true,
                dropped: Vec::new(),
            };
            self.rule.advance(&mut entry.state, &key, watermark, &mut context);
            let Context { is_watched, dropped, .. } = context;
            entry.watched = is_watched;
            self.dirty += usize::from(!std::mem::replace(&mut entry.dirty, true));
            self.unwatch(dropped);
        }
    }

    fn keys(&self) -> usize {
        self.states.len()
    }

    fn snapshot(&self) -> Pieces<'_> {
        Box::new(std::iter::once_with(|| self.watched.write()))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let (watched, rest) = Watched::read(self.limits.watched, snapshot)?;
        if !rest.is_empty() {
            return Err(corrupt("is longer than its content"));
        }
        self.watched = watched;
        Ok(())
    }
}

impl<R: AlertRule> RunningExact for Exact<R> {
    fn missing(&self, effects: &[HashedEffect<'_>], missing: &mut Vec<(u128, OwnedKey)>) {
        if self.complete {
            return;
        }
        let mut seen = hashbrown::HashSet::<u128, BuildHasherDefault<AlreadyHashed>>::default();
        for hashed in effects {
            let Some(key) = self.rule.key(hashed.effect) else { continue };
            let hash = hashed.of(key, &self.hasher);
            if !self.states.contains_key(&hash) && seen.insert(hash) {
                missing.push((hash, key.to_owned()));
            }
        }
        for (hash, key) in self.watched.keys() {
            if !self.states.contains_key(&hash) && seen.insert(hash) {
                missing.push((hash, key));
            }
        }
    }

    fn load(&mut self, hash: u128, key: OwnedKey, stored: Option<&[u8]>) -> Result<()> {
        let state = match stored {
            None => R::State::default(),
            Some([VERSION, bytes @ ..]) => take(bytes).map(|(state, _)| state)?,
            Some(_) => {
                return Err(Error::corrupt(format!(
                    "the state of {} has another version than {VERSION}",
                    key.as_key()
                )));
            }
        };
        let watched = self.watched.contains(hash);
        self.states.insert(hash, Box::new(State { key, state, dirty: false, watched }));
        Ok(())
    }

    fn rebuild(&mut self, totals: &PostTotals, raised: &mut Vec<Raised>) {
        let key = OwnedKey::Post(totals.post.clone());
        let hash = self.hasher.key(key.as_key());
        let mut context = Context {
            at: 0,
            raised,
            watched: &mut self.watched,
            hash,
            key: key.as_key(),
            user: None,
            is_watched: false,
            dropped: Vec::new(),
        };
        if let Some(state) = self.rule.rebuild(totals, &mut context) {
            self.states.insert(hash, Box::new(State { key, state, dirty: true, watched: false }));
            self.dirty += 1;
        }
    }

    fn dirty(&self) -> usize {
        self.dirty
    }

    fn dirty_states(&self) -> ExactStates<'_> {
        let mut dirty = Vec::with_capacity(self.dirty);
        dirty.extend(self.states.values().filter(|entry| entry.dirty));
        // In the order of their keys, the rows touch fewer pages and are locked in one order.
        dirty.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Box::new(dirty.into_iter().map(|entry| {
            Ok(ExactState {
                rule: self.rule.name().to_owned(),
                key: entry.key.as_key().to_string(),
                state: write(&entry.state)?,
            })
        }))
    }

    fn saved(&mut self) {
        self.states.values_mut().for_each(|e| e.dirty = false);
        self.dirty = 0;
        if self.states.len() > self.limits.cached {
            // Any of them may go: a state that is needed again is read again, and no alert depends
            // on which states are in memory.
            let mut keep = false;
            self.states.retain(|_, entry| {
                keep = !keep;
                keep || entry.watched
            });
            self.complete = false;
        }
    }

    fn begin_empty(&mut self) {
        self.complete = true;
    }
}

fn write<S: Serialize>(state: &S) -> Result<Vec<u8>> {
    put(state, vec![VERSION])
}

/// The keys are hashes already, so this hashes nothing.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "{} bytes where a u128 was expected", bytes.len());
    }
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}
