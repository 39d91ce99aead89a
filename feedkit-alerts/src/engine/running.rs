//! A rule at work: one of two kinds, by how its states are kept.

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

/// A rule with its states.
pub(crate) enum RunningRule {
    /// Its states are kept in memory and may be dropped.
    Evictable(Box<dyn Running>),
    /// Its states are never lost.
    Exact(Box<dyn RunningExact>),
}

impl RunningRule {
    pub(super) fn common(&self) -> &dyn Running {
        match self {
            RunningRule::Evictable(rule) => &**rule,
            RunningRule::Exact(rule) => &**rule,
        }
    }

    pub(super) fn common_mut(&mut self) -> &mut dyn Running {
        match self {
            RunningRule::Evictable(rule) => &mut **rule,
            RunningRule::Exact(rule) => &mut **rule,
        }
    }

    pub(super) fn exact(&self) -> Option<&dyn RunningExact> {
        match self {
            RunningRule::Evictable(_) => None,
            RunningRule::Exact(rule) => Some(&**rule),
        }
    }

    pub(super) fn exact_mut(&mut self) -> Option<&mut dyn RunningExact> {
        match self {
            RunningRule::Evictable(_) => None,
            RunningRule::Exact(rule) => Some(&mut **rule),
        }
    }
}

/// What rules of both kinds do.
pub(crate) trait Running: Send + Sync {
    /// The rule's name.
    fn name(&self) -> &str;

    /// Runs the rule over effects. `base` is the index of the first one in its step.
    fn observe(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>);

    /// Tells the rule the watermark, once for each watched key. `at` is the place of what it
    /// raises.
    fn advance(&mut self, at: usize, watermark: Timestamp, raised: &mut Vec<Raised>);

    /// The number of states in memory.
    fn keys(&self) -> usize;

    /// The rule's part of a snapshot.
    fn snapshot(&self) -> Pieces<'_>;

    /// Sets the states to those of a snapshot.
    ///
    /// Fails as [`Corrupt`](feedkit_core::ErrorKind::Corrupt) if the snapshot cannot be read.
    fn restore(&mut self, snapshot: &[u8]) -> Result<()>;
}

/// What only exact rules do: the alert log keeps their states, and memory holds some of them.
pub(crate) trait RunningExact: Running {
    /// Adds the states that these effects need and that are not in memory, each once.
    fn missing(&self, effects: &[HashedEffect<'_>], missing: &mut Vec<(u128, OwnedKey)>);

    /// Adds a state that was missing. `None` means that the key has no state yet.
    fn load(&mut self, hash: u128, key: OwnedKey, state: Option<&[u8]>) -> Result<()>;

    /// Sets the state of one post from its totals.
    fn rebuild(&mut self, totals: &PostTotals, raised: &mut Vec<Raised>);

    /// The number of states that changed since the last snapshot. Only this memory holds them.
    fn dirty(&self) -> usize;

    /// Those states, in the order of their keys. They belong to the next snapshot.
    fn dirty_states(&self) -> ExactStates<'_>;

    /// The snapshot was stored.
    fn saved(&mut self);

    /// There is no snapshot, and the rule will see all effects: a state that is not in memory is
    /// new.
    fn begin_empty(&mut self);
}

/// How much memory the rules may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum number of watched keys of one rule.
    pub(crate) watched: usize,
    /// Maximum number of exact states of one rule that stay in memory after a snapshot.
    pub(crate) cached: usize,
}

/// An [`AlertRule`], whatever its state is.
pub(crate) trait StartRule: Send + Sync + 'static {
    /// The rule's name.
    fn rule_name(&self) -> &str;

    /// The rule at work, without states.
    ///
    /// Fails as [`Invalid`](feedkit_core::ErrorKind::Invalid) if an evictable state is too large.
    fn start(self: Arc<Self>, hasher: KeyHasher, limits: &Limits) -> Result<RunningRule>;
}

/// Maximum number of bytes of an evictable state, without the 16 bytes of its key's hash.
const MAX_STATE: usize = 64;

impl<R: AlertRule> StartRule for R {
    fn rule_name(&self) -> &str {
        self.name()
    }

    fn start(self: Arc<Self>, hasher: KeyHasher, limits: &Limits) -> Result<RunningRule> {
        match self.keeping() {
            Keeping::Evictable { max_keys } => {
                let bytes = size_of::<R::State>();
                if bytes > MAX_STATE {
                    let name = self.name();
                    return Err(Error::invalid(format!(
                        "a state of rule {name} takes {bytes} bytes; an evictable state may take {MAX_STATE}"
                    )));
                }
                tracing::debug!(rule = self.name(), max_keys, bytes_per_key = bytes_per_key::<R::State>());
                Ok(RunningRule::Evictable(Box::new(Evictable::new(self, hasher, max_keys, limits.watched))))
            }
            Keeping::Exact => Ok(RunningRule::Exact(Box::new(Exact::new(self, hasher, limits)))),
        }
    }
}
