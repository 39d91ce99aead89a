//! Where the alert follower keeps its work.

use std::time::Duration;

use async_trait::async_trait;

use crate::alerts::Alerts;
use crate::forward::forward;
use crate::lease::Lease;
use crate::notification::Notification;
use crate::outbox::Outbox;
use crate::{Offset, Partition, Positions, Result, Timestamp};

/// Keeps the alert follower's lease, steps and snapshots, and writes the [`Alerts`] and their [`Outbox`].
///
/// # Contract
///
/// - At most one lease is valid at a time. A lease that has run out may be taken by another, with a higher epoch;
///   every write under an older one is refused as [`Fenced`](crate::ErrorKind::Fenced) and changes nothing.
/// - [`step`](AlertLog::step) is one transaction: it moves the positions, appends what was consumed, and keeps the
///   alerts and their outbox rows. A step whose number is not the next is refused as
///   [`Gap`](crate::ErrorKind::Gap). An alert whose id is kept already is not kept again, and not published again.
/// - [`recover`](AlertLog::recover) returns the last snapshot and every step after it, in order.
/// - [`save_snapshot`](AlertLog::save_snapshot) is one transaction, after which the steps it includes are gone.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the log cannot be reached.
/// [`Uncertain`](crate::ErrorKind::Uncertain) from a call that writes: it may have been carried out. Recover to find
/// out.
///
/// # Cancellation
///
/// Dropped writes are uncertain: recover before going on.
#[async_trait]
pub trait AlertLog: Alerts + Outbox {
    /// Takes the lease for `owner`, if it is free, run out at `now`, or the owner's already.
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>>;

    /// Prolongs the lease.
    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease>;

    /// Gives the lease back.
    async fn release(&self, lease: &Lease) -> Result<()>;

    /// All that is needed to go on where the last owner stopped.
    async fn recover(&self, lease: &Lease) -> Result<Recovered>;

    /// Writes one step down.
    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()>;

    /// Replaces the snapshot by one of `states`, as they are after `step`, with `positions` to go on from; and sets
    /// the exact states that changed since the last one.
    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()>;

    /// Exact states as of the last snapshot, in the order of `keys`.
    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>>;
}

/// A range of one partition's offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Consumed {
    /// The partition.
    pub partition: Partition,
    /// The first offset.
    pub from: Offset,
    /// The offset after the last.
    pub to: Offset,
}

/// What was consumed together, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertStep {
    /// Steps are numbered from 1, without gaps.
    pub number: u64,
    /// The watermark after the step.
    pub watermark: Timestamp,
    /// What was consumed, by partition.
    pub consumed: Vec<Consumed>,
    /// What was raised, in order.
    pub alerts: Vec<Notification>,
}

/// A step as recovered: its alerts are kept already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedStep {
    /// Its number.
    pub number: u64,
    /// The watermark after it.
    pub watermark: Timestamp,
    /// What was consumed.
    pub consumed: Vec<Consumed>,
}

/// The rules' states at one moment, in pieces: a store need not hold all of them in memory at once.
///
/// # Contract
///
/// Asked again, the same comes. Iterators may work out each piece when it is asked for, and an error ends them.
pub trait RuleStates: Send + Sync {
    /// The names under which [`state`](RuleStates::state) knows something, in order; each once.
    fn rules(&self) -> Vec<&str>;

    /// One rule's state in order, in pieces: of a large one, of some dozen kilobytes each.
    fn state<'a>(&'a self, rule: &str) -> Pieces<'a>;

    /// The exact states that changed since the last snapshot; each key once.
    fn exact(&self) -> ExactStates<'_>;
}

/// A state in pieces.
pub type Pieces<'a> = Box<dyn Iterator<Item = Result<Vec<u8>>> + Send + 'a>;

/// Exact states, one by one.
pub type ExactStates<'a> = Box<dyn Iterator<Item = Result<ExactState>> + Send + 'a>;

/// [`RuleStates`] that are all in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WholeStates {
    /// For [`AlertSnapshot::states`].
    pub states: Vec<(String, Vec<u8>)>,
    /// The exact states that changed.
    pub exact: Vec<ExactState>,
}

impl WholeStates {
    /// All pieces of these states, put together.
    ///
    /// # Errors
    ///
    /// The first error of a piece.
    pub fn of(pieces: &dyn RuleStates) -> Result<Self> {
        let whole = |rule: &str| {
            let mut state = Vec::new();
            for piece in pieces.state(rule) {
                state.extend_from_slice(&piece?);
            }
            Ok((rule.to_owned(), state))
        };
        let states = pieces.rules().into_iter().map(whole).collect::<Result<_>>()?;
        Ok(WholeStates { states, exact: pieces.exact().collect::<Result<_>>()? })
    }
}

impl RuleStates for WholeStates {
    fn rules(&self) -> Vec<&str> {
        self.states.iter().map(|(rule, _)| rule.as_str()).collect()
    }

    fn state<'a>(&'a self, rule: &str) -> Pieces<'a> {
        let found = self.states.iter().find(|(name, _)| name == rule);
        Box::new(found.into_iter().map(|(_, state)| Ok(state.clone())))
    }

    fn exact(&self) -> ExactStates<'_> {
        Box::new(self.exact.iter().cloned().map(Ok))
    }
}

/// The rules' states at some step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertSnapshot {
    /// The last step that it includes; 0 before the first.
    pub step: u64,
    /// The next offset to consume of every partition.
    pub positions: Positions,
    /// The rules' states, by name, in their own form.
    pub states: Vec<(String, Vec<u8>)>,
}

/// The state of one key of an exact rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactState {
    /// The rule.
    pub rule: String,
    /// The key's name.
    pub key: String,
    /// The state, in the rule's own form.
    pub state: Vec<u8>,
}

/// What [`AlertLog::recover`] returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The last snapshot, if there is one.
    pub snapshot: Option<AlertSnapshot>,
    /// The steps after it, in order.
    pub steps: Vec<RecordedStep>,
}

forward!(AlertLog {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>>;
    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease>;
    async fn release(&self, lease: &Lease) -> Result<()>;
    async fn recover(&self, lease: &Lease) -> Result<Recovered>;
    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()>;
    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()>;
    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>>;
});
