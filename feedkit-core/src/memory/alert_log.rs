//! An alert log in memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};

use crate::alert_log::{
    AlertLog, AlertSnapshot, AlertStep, ExactState, RecordedStep, Recovered, RuleStates, WholeStates,
};
use crate::alerts::Alerts;
use crate::backend::alert_log as backend;
use crate::lease::Lease;
use crate::notification::Notification;
use crate::outbox::{Outbox, OutboxRow};
use crate::{Positions, Result, Timestamp};

/// An alert log in memory. Its contents are lost when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryAlertLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last lease. It has no owner after it was given back, and is `None` before the first.
    lease: Option<Lease>,
    snapshot: Option<AlertSnapshot>,
    /// The steps after the snapshot.
    steps: Vec<RecordedStep>,
    last_step: u64,
    exact: HashMap<(String, String), Vec<u8>>,
    raised: HashSet<String>,
    /// The alerts by the number under which they are stored.
    alerts: BTreeMap<u64, Notification>,
    outbox: VecDeque<OutboxRow>,
    published: Positions,
}

impl MemoryAlertLog {
    /// Creates an empty alert log.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave a partial change behind.
        self.0.lock()
    }

    fn held(&self, lease: &Lease) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        backend::check_lease(state.lease.as_ref(), lease)?;
        Ok(state)
    }
}

#[async_trait]
impl AlertLog for MemoryAlertLog {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        let mut state = self.state();
        let acquired = backend::acquire(state.lease.as_ref(), owner, now, ttl)?;
        if acquired.is_some() {
            state.lease.clone_from(&acquired);
        }
        Ok(acquired)
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
        let mut state = self.state();
        let renewed = backend::renew(state.lease.as_ref(), lease, now, ttl)?;
        state.lease = Some(renewed.clone());
        Ok(renewed)
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let mut state = self.state();
        state.lease = Some(backend::release(state.lease.as_ref(), lease)?);
        Ok(())
    }

    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        let state = self.held(lease)?;
        Ok(Recovered { snapshot: state.snapshot.clone(), steps: state.steps.clone() })
    }

    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()> {
        let mut state = self.held(lease)?;
        backend::check_step(state.last_step, step.number)?;
        state.last_step = step.number;
        state.steps.push(RecordedStep {
            number: step.number,
            watermark: step.watermark,
            consumed: step.consumed.clone(),
        });
        for notification in &step.alerts {
            if state.raised.insert(notification.id.clone()) {
                let seq = state.alerts.len() as u64 + 1;
                state.alerts.insert(seq, notification.clone());
                state.outbox.push_back(OutboxRow { seq, notification: notification.clone() });
            }
        }
        Ok(())
    }

    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()> {
        let mut state = self.held(lease)?;
        let before = state.snapshot.as_ref().map_or(0, |s| s.step);
        backend::check_snapshot(before, state.last_step, step)?;
        let WholeStates { states, exact } = WholeStates::of(states)?;
        state.steps.retain(|recorded| recorded.number > step);
        state.snapshot = Some(AlertSnapshot { step, positions: positions.clone(), states });
        for ExactState { rule, key, state: bytes } in exact {
            state.exact.insert((rule, key), bytes);
        }
        Ok(())
    }

    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        let state = self.state();
        let of = |key: &&str| state.exact.get(&(rule.to_owned(), (*key).to_owned())).cloned();
        Ok(keys.iter().map(of).collect())
    }
}

#[async_trait]
impl Outbox for MemoryAlertLog {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        Ok(self.state().outbox.iter().take(limit).cloned().collect())
    }

    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()> {
        let mut state = self.held(lease)?;
        state.outbox.retain(|row| row.seq > seq);
        state.published = positions.clone();
        Ok(())
    }

    async fn published(&self) -> Result<Positions> {
        Ok(self.state().published.clone())
    }
}

#[async_trait]
impl Alerts for MemoryAlertLog {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        let state = self.state();
        let range = state.alerts.range(..before.unwrap_or(u64::MAX));
        Ok(range.rev().take(limit).map(|(seq, n)| (*seq, n.clone())).collect())
    }
}
