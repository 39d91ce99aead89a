//! Alert logs with faults.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use feedkit_core::alert_log::{AlertLog, AlertStep, RecordedStep, Recovered, RuleStates, WholeStates};
use feedkit_core::alerts::Alerts;
use feedkit_core::lease::Lease;
use feedkit_core::memory::MemoryAlertLog;
use feedkit_core::notification::Notification;
use feedkit_core::outbox::{Outbox, OutboxRow};
use feedkit_core::{Positions, Result, Timestamp};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantAlertLog`].
    AlertLogFault {
        /// Faults that break [`AlertLog`].
        LOG {
            /// Gives the lease to anyone.
            GivesLeaseTwice,
            /// Never lets a lease expire.
            LeaseNeverRunsOut,
            /// Accepts a lease that ends long after now.
            AcceptsClocksAhead,
            /// Gives every owner the same epoch.
            EpochStays,
            /// Writes steps under an older lease.
            AcceptsStaleSteps,
            /// Writes snapshots under an older lease.
            AcceptsStaleSnapshots,
            /// Does not extend the lease.
            RenewsNothing,
            /// Does not give the lease back.
            ReleasesNothing,
            /// Accepts steps of any number.
            AcceptsAnyNumber,
            /// Forgets the last step.
            LosesStep,
            /// Recovers the newest step first.
            StepsBackwards,
            /// Forgets the watermarks.
            ForgetsWatermarks,
            /// Stores an alert twice.
            KeepsAlertTwice,
            /// Keeps the later of two alerts with the same id.
            LastAlertWins,
            /// Recovers steps that the snapshot includes.
            KeepsOldSteps,
            /// Forgets the steps after a snapshot.
            SnapshotDropsAllSteps,
            /// Stores only the first piece of a state.
            KeepsFirstPiece,
            /// Stores the part of a snapshot that came before an error.
            KeepsBrokenSnapshots,
            /// Forgets exact states.
            LosesExactStates,
            /// Mixes up the rules' exact states.
            ExactStatesOfAnyRule,
            /// Writes a step in two transactions.
            StepInTwo,
        }
        /// Faults that break [`Outbox`].
        OUTBOX {
            /// Marks rows under an older lease.
            AcceptsStaleMarks,
            /// Publishes marked rows again.
            IgnoresMarks,
            /// Marks everything.
            MarksAll,
            /// Publishes the newest first.
            OutboxBackwards,
            /// Forgets the positions in the notifications' log.
            ForgetsPublished,
            /// Returns more rows than the limit.
            OutboxWithoutLimit,
            /// Marks the rows and the positions in two transactions.
            MarkInTwo,
        }
        /// Faults that break [`Alerts`].
        ALERTS {
            /// Lists the oldest alerts first.
            AlertsBackwards,
            /// Begins a page of alerts with the last one of the previous page.
            AlertsRepeat,
            /// Returns more alerts than the limit.
            AlertsWithoutLimit,
        }
    }
}

/// An alert log with one fault.
pub(crate) struct MutantAlertLog {
    inner: MemoryAlertLog,
    fault: AlertLogFault,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    lease: Option<Lease>,
    next_step: u64,
    steps: Vec<RecordedStep>,
    ids: HashSet<String>,
    rows: Vec<OutboxRow>,
    marked: u64,
    latest: Vec<Notification>,
}

/// Changes an id that was raised before, so that it looks new.
const AGAIN: char = '\u{1}';

impl MutantAlertLog {
    /// Creates an alert log with this fault.
    pub(crate) fn new(fault: AlertLogFault) -> Self {
        let seen = Seen { next_step: 1, ..Seen::default() };
        MutantAlertLog { inner: MemoryAlertLog::new(), fault, seen: Mutex::new(seen) }
    }

    fn is(&self, fault: AlertLogFault) -> bool {
        self.fault == fault
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }

    /// The lease to write under. With the fault that accepts any lease, it is the current one.
    fn lease(&self, lease: &Lease, lax: AlertLogFault) -> Lease {
        let takes_any = self.is(lax) || self.is(AlertLogFault::EpochStays);
        self.seen().lease.clone().filter(|_| takes_any).unwrap_or_else(|| lease.clone())
    }
}

/// The states that come before the first error.
fn up_to_an_error(states: &dyn RuleStates) -> WholeStates {
    let state = |rule: &str| states.state(rule).map_while(Result::ok).flatten().collect();
    WholeStates {
        states: states.rules().into_iter().map(|rule| (rule.to_owned(), state(rule))).collect(),
        exact: states.exact().map_while(Result::ok).collect(),
    }
}

#[async_trait]
impl AlertLog for MutantAlertLog {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        let now = match self.fault {
            AlertLogFault::LeaseNeverRunsOut => Timestamp::EPOCH,
            _ => now,
        };
        if self.is(AlertLogFault::AcceptsClocksAhead)
            && self.seen().lease.as_ref().is_some_and(|l| l.until > now)
        {
            return Ok(None);
        }
        let mut lease = self.inner.acquire(owner, now, ttl).await?;
        if lease.is_none() && self.is(AlertLogFault::GivesLeaseTwice) {
            lease = self.inner.acquire(owner, Timestamp::MAX, ttl).await?;
        }
        if let Some(lease) = &lease {
            self.seen().lease = Some(lease.clone());
        }
        Ok(lease.map(|lease| match self.fault {
            AlertLogFault::EpochStays => Lease { epoch: 1, ..lease },
            AlertLogFault::LeaseNeverRunsOut => Lease { until: now.saturating_add(ttl), ..lease },
            _ => lease,
        }))
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
        let now = if self.is(AlertLogFault::RenewsNothing) { lease.until.saturating_sub(ttl) } else { now };
        self.inner.renew(&self.lease(lease, AlertLogFault::EpochStays), now, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        match self.fault {
            AlertLogFault::ReleasesNothing => Ok(()),
            _ => self.inner.release(&self.lease(lease, AlertLogFault::EpochStays)).await,
        }
    }

    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        let mut recovered = self.inner.recover(&self.lease(lease, AlertLogFault::EpochStays)).await?;
        match self.fault {
            AlertLogFault::LosesStep => drop(recovered.steps.pop()),
            AlertLogFault::StepsBackwards => recovered.steps.reverse(),
            AlertLogFault::ForgetsWatermarks => {
                recovered.steps.iter_mut().for_each(|s| s.watermark = Timestamp::EPOCH);
            }
            AlertLogFault::KeepsOldSteps => recovered.steps = self.seen().steps.clone(),
            AlertLogFault::SnapshotDropsAllSteps if recovered.snapshot.is_some() => recovered.steps.clear(),
            _ => {}
        }
        Ok(recovered)
    }

    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()> {
        let mut step = step.clone();
        if self.is(AlertLogFault::AcceptsAnyNumber) {
            step.number = self.seen().next_step;
        }
        if self.is(AlertLogFault::KeepsAlertTwice) {
            let mut seen = self.seen();
            step.alerts.iter_mut().filter(|a| !seen.ids.insert(a.id.clone())).for_each(|a| a.id.push(AGAIN));
        }
        let lease = self.lease(lease, AlertLogFault::AcceptsStaleSteps);
        if self.is(AlertLogFault::StepInTwo) {
            // The alerts are written in a second transaction, which a dropped call may never reach.
            let alerts = std::mem::take(&mut step.alerts);
            self.inner.step(&lease, &step).await?;
            tokio::task::yield_now().await;
            let mut seen = self.seen();
            for notification in alerts {
                if seen.ids.insert(notification.id.clone()) {
                    let seq = seen.rows.len() as u64 + 1;
                    seen.rows.push(OutboxRow { seq, notification });
                }
            }
            return Ok(());
        }
        self.inner.step(&lease, &step).await?;
        let mut seen = self.seen();
        seen.next_step += 1;
        let AlertStep { number, watermark, consumed, alerts } = step;
        seen.steps.push(RecordedStep { number, watermark, consumed });
        seen.latest.extend(alerts);
        Ok(())
    }

    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()> {
        let lease = self.lease(lease, AlertLogFault::AcceptsStaleSnapshots);
        let mut whole = match WholeStates::of(states) {
            Err(error) if self.is(AlertLogFault::KeepsBrokenSnapshots) => {
                self.inner.save_snapshot(&lease, step, positions, &up_to_an_error(states)).await?;
                return Err(error);
            }
            whole => whole?,
        };
        match self.fault {
            AlertLogFault::KeepsFirstPiece => {
                for (rule, state) in &mut whole.states {
                    *state = states.state(rule).next().transpose()?.unwrap_or_default();
                }
            }
            AlertLogFault::LosesExactStates => drop(whole.exact.pop()),
            AlertLogFault::ExactStatesOfAnyRule => {
                whole.exact.iter_mut().for_each(|s| s.rule = "any".into());
            }
            _ => {}
        }
        self.inner.save_snapshot(&lease, step, positions, &whole).await
    }

    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        let rule = if self.is(AlertLogFault::ExactStatesOfAnyRule) { "any" } else { rule };
        self.inner.exact_states(rule, keys).await
    }
}

#[async_trait]
impl Outbox for MutantAlertLog {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        if self.is(AlertLogFault::StepInTwo) {
            let seen = self.seen();
            return Ok(seen.rows.iter().filter(|r| r.seq > seen.marked).take(limit).cloned().collect());
        }
        let mut rows = self.inner.outbox(usize::MAX).await?;
        rows.iter_mut().for_each(|r| r.notification.id.retain(|c| c != AGAIN));
        if self.is(AlertLogFault::OutboxBackwards) {
            rows.reverse();
        }
        if !self.is(AlertLogFault::OutboxWithoutLimit) {
            rows.truncate(limit);
        }
        Ok(rows)
    }

    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()> {
        let lease = self.lease(lease, AlertLogFault::AcceptsStaleMarks);
        let (seq, positions) = match self.fault {
            AlertLogFault::IgnoresMarks => (0, positions.clone()),
            AlertLogFault::MarksAll => (u64::MAX, positions.clone()),
            AlertLogFault::ForgetsPublished => (seq, Positions::new()),
            _ => (seq, positions.clone()),
        };
        if self.is(AlertLogFault::MarkInTwo) {
            let before = self.inner.published().await?;
            self.inner.mark_published(&lease, seq, &before).await?;
            tokio::task::yield_now().await;
        }
        self.inner.mark_published(&lease, seq, &positions).await?;
        self.seen().marked = seq;
        Ok(())
    }

    async fn published(&self) -> Result<Positions> {
        self.inner.published().await
    }
}

#[async_trait]
impl Alerts for MutantAlertLog {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        if self.is(AlertLogFault::StepInTwo) {
            let rows = self.seen().rows.clone();
            let older = rows.into_iter().rev().filter(|r| before.is_none_or(|b| r.seq < b));
            return Ok(older.take(limit).map(|r| (r.seq, r.notification)).collect());
        }
        let before = before.map(|n| n + u64::from(self.is(AlertLogFault::AlertsRepeat)));
        let limit = if self.is(AlertLogFault::AlertsWithoutLimit) { usize::MAX } else { limit };
        let mut alerts = self.inner.alerts(before, limit).await?;
        let seen = self.seen();
        for (_, alert) in &mut alerts {
            alert.id.retain(|c| c != AGAIN);
            if self.is(AlertLogFault::LastAlertWins)
                && let Some(latest) = seen.latest.iter().rev().find(|n| n.id == alert.id)
            {
                *alert = latest.clone();
            }
        }
        if self.is(AlertLogFault::AlertsBackwards) {
            alerts.reverse();
        }
        Ok(alerts)
    }
}
