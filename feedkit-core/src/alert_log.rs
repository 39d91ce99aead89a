//! Storing the work of the alert follower: the contract [`AlertLog`].

use std::time::Duration;

use async_trait::async_trait;

use crate::alerts::Alerts;
use crate::forward::forward;
use crate::lease::Lease;
use crate::notification::Notification;
use crate::outbox::Outbox;
use crate::{Offset, Partition, Positions, Result, Timestamp};

/// Stores the lease, the steps and the snapshots of the alert follower, and writes the [`Alerts`]
/// and their [`Outbox`].
///
/// # Contract
///
/// - At most one lease is valid at a time. Another owner may take a lease that has expired, with a
///   higher epoch. Every write under an older lease fails with [`Fenced`](crate::ErrorKind::Fenced)
///   and changes nothing.
/// - [`step`](AlertLog::step) is one transaction. It moves the positions, appends what was
///   consumed, and stores the alerts and their outbox rows. A step whose number is not the next
///   fails with [`Gap`](crate::ErrorKind::Gap). An alert whose id is already stored is neither
///   stored nor published again.
/// - [`recover`](AlertLog::recover) returns the last snapshot and every step after it, in order.
/// - [`save_snapshot`](AlertLog::save_snapshot) is one transaction. It also deletes the steps that
///   the snapshot includes.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the alert log is unavailable.
/// [`Uncertain`](crate::ErrorKind::Uncertain) from a call that writes: it may have taken effect.
/// Call `recover` to find out.
///
/// # Cancellation
///
/// The outcome of a dropped write is uncertain. Call `recover` before the next write.
#[async_trait]
pub trait AlertLog: Alerts + Outbox {
    /// Takes the lease for `owner`. Returns `None` if another owner holds a lease that has not
    /// expired at `now`, and that ends at most `ttl` after it.
    ///
    /// `now` is the caller's time. A log that several machines share, such as a database, decides by
    /// its own clock instead, because the callers' clocks differ.
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>>;

    /// Extends the lease to `ttl` after `now`, or after the log's own time.
    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease>;

    /// Gives the lease back, so that another owner can take it at once.
    async fn release(&self, lease: &Lease) -> Result<()>;

    /// Returns what an owner needs to continue where the last owner stopped.
    async fn recover(&self, lease: &Lease) -> Result<Recovered>;

    /// Writes one step.
    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()>;

    /// Replaces the snapshot. The new one contains `states`, as they are after `step`, and the
    /// `positions` to continue from. The call also sets the exact states that changed since the
    /// last snapshot.
    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()>;

    /// Returns the exact states at the last snapshot, in the order of `keys`.
    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>>;
}

/// A range of offsets in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Consumed {
    /// The partition.
    pub partition: Partition,
    /// The first offset.
    pub from: Offset,
    /// The offset after the last.
    pub to: Offset,
}

/// A set of journal entries that the alert follower consumed together, and the alerts that they
/// raised.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertStep {
    /// The number of the step. Steps are numbered from 1, without gaps.
    pub number: u64,
    /// The watermark after the step.
    pub watermark: Timestamp,
    /// The consumed ranges, by partition.
    pub consumed: Vec<Consumed>,
    /// The raised alerts, in order.
    pub alerts: Vec<Notification>,
}

/// A recovered step. Its alerts are already stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedStep {
    /// Its number.
    pub number: u64,
    /// The watermark after the step.
    pub watermark: Timestamp,
    /// The consumed ranges.
    pub consumed: Vec<Consumed>,
}

/// The states of all rules at one moment, in pieces. A store therefore need not hold all of them in
/// memory.
///
/// # Contract
///
/// Repeated calls return the same values. An iterator may compute each piece on demand. An error
/// ends it.
pub trait RuleStates: Send + Sync {
    /// The names of the rules that have a [`state`](RuleStates::state), in order and without
    /// repeats.
    fn rules(&self) -> Vec<&str>;

    /// The state of one rule, in ordered pieces. The pieces of a large state have some dozen
    /// kilobytes each.
    fn state<'a>(&'a self, rule: &str) -> Pieces<'a>;

    /// The exact states that changed since the last snapshot. Each key occurs once.
    fn exact(&self) -> ExactStates<'_>;
}

/// A state in pieces.
pub type Pieces<'a> = Box<dyn Iterator<Item = Result<Vec<u8>>> + Send + 'a>;

/// Exact states, one by one.
pub type ExactStates<'a> = Box<dyn Iterator<Item = Result<ExactState>> + Send + 'a>;

/// [`RuleStates`] that are all in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WholeStates {
    /// The states for [`AlertSnapshot::states`].
    pub states: Vec<(String, Vec<u8>)>,
    /// The exact states that changed.
    pub exact: Vec<ExactState>,
}

impl WholeStates {
    /// Joins the pieces of each state.
    ///
    /// # Errors
    ///
    /// Returns the first error of a piece.
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

/// The states of all rules after some step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertSnapshot {
    /// The last step that the snapshot includes, or 0 before the first step.
    pub step: u64,
    /// The next offset to consume in each partition.
    pub positions: Positions,
    /// The states of the rules with their names, in the encoding of each rule.
    pub states: Vec<(String, Vec<u8>)>,
}

/// The state of one key of an exact rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactState {
    /// The rule.
    pub rule: String,
    /// The name of the key.
    pub key: String,
    /// The state, in the encoding of the rule.
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
