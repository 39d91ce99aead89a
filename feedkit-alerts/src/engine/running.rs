use std::sync::Arc;

use feedkit_core::alert::{Keeping, OwnedKey};
use feedkit_core::alert_log::{ExactStates, Pieces};
use feedkit_core::history::PostTotals;
use feedkit_core::{AlertRule, Error, Result, Timestamp};

use super::evictable::Evictable;
use super::exact::Exact;
use super::hashed::{HashedEffect, KeyHasher};
use super::rules::Raised;
use super::table::bytes_per_key;

/// An [`AlertRule`] of any state: every rule is one.
pub trait DynRule: Send + Sync + 'static {
    /// The rule's name.
    fn rule_name(&self) -> &str;

    /// The rule at work, with no states yet. A rule whose states take more than they may is refused as
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid).
    fn start(self: Arc<Self>, hasher: KeyHasher, limits: &Limits) -> Result<Box<dyn RunningRule>>;
}

/// What rules at work may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most watched keys of a rule.
    pub watched: usize,
    /// Exact states of a rule that stay in memory after they were written down.
    pub exact_cached: usize,
}

impl Default for Limits {
    /// 1,024 watched keys, 200,000 exact states.
    fn default() -> Self {
        Limits { watched: 1024, exact_cached: 200_000 }
    }
}

/// A rule at work: its states, and what it watches.
pub trait RunningRule: Send + Sync {
    /// The rule's name.
    fn name(&self) -> &str;

    /// The exact states that these effects concern and that are not in memory; each once.
    fn missing(&self, effects: &[HashedEffect<'_>], missing: &mut Vec<(u128, OwnedKey)>);

    /// Takes in what was missing. `None` is a key never seen before.
    fn load(&mut self, hash: u128, key: OwnedKey, state: Option<&[u8]>) -> Result<()>;

    /// Runs the rule over effects, the first of which has the place `base` in its step.
    fn observe(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>);

    /// Tells the rule of the watermark, key by watched key; what it raises has the place `at`.
    fn advance(&mut self, at: usize, watermark: Timestamp, raised: &mut Vec<Raised>);

    /// Sets an exact rule's state of one post from its totals; without effect on other rules.
    fn rebuild(&mut self, totals: &PostTotals, raised: &mut Vec<Raised>);

    /// How many states are in memory.
    fn keys(&self) -> usize;

    /// How many of them are newer than the last snapshot and kept nowhere else.
    fn dirty(&self) -> usize;

    /// What belongs into a snapshot.
    fn snapshot(&self) -> Pieces<'_>;

    /// The exact states that belong to it, in the order of their keys.
    fn dirty_states(&self) -> ExactStates<'_>;

    /// The snapshot has been kept.
    fn saved(&mut self);

    /// Sets the states to those of a snapshot. One that cannot be read is
    /// [`Corrupt`](feedkit_core::ErrorKind::Corrupt).
    fn restore(&mut self, snapshot: &[u8]) -> Result<()>;

    /// There is no snapshot, and all that follows will be seen: an exact state that is not in memory is new.
    fn begin_empty(&mut self);
}

/// What an evictable state may take, besides the 16 bytes of its key's hash.
const MAX_STATE: usize = 64;

impl<R: AlertRule> DynRule for R {
    fn rule_name(&self) -> &str {
        self.name()
    }

    fn start(self: Arc<Self>, hasher: KeyHasher, limits: &Limits) -> Result<Box<dyn RunningRule>> {
        match self.keeping() {
            Keeping::Evictable { max_keys } => {
                let bytes = size_of::<R::State>();
                if bytes > MAX_STATE {
                    let name = self.name();
                    return Err(Error::invalid(format!(
                        "rule {name}: its state takes {bytes} bytes, an evictable one may take {MAX_STATE}"
                    )));
                }
                tracing::debug!(rule = self.name(), max_keys, bytes_per_key = bytes_per_key::<R::State>());
                Ok(Box::new(Evictable::new(self, hasher, max_keys, limits.watched)))
            }
            Keeping::Exact => Ok(Box::new(Exact::new(self, hasher, limits))),
        }
    }
}
