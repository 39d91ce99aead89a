//! Steps: rules over a portion of effects, written down in one transaction.

use feedkit_core::alert_log::AlertStep;
use feedkit_core::effect::Effect;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::lease::Lease;
use feedkit_core::notification::Notification;
use feedkit_core::{AlertLog, Clock, Error, ErrorKind, Positions, Result, Timestamp};

use crate::align::{Align, Reach};
use crate::engine::{CHUNK, HashedEffect, Rules};
use crate::lease::Tenure;
use crate::options::AlertOptions;

/// Exact states that are asked for at once.
const LOAD: usize = 4_000;

/// The rules' states, how far they have come, and what waits for them. It is as the alert log has it, or one step
/// ahead.
pub(crate) struct Work {
    pub(crate) rules: Rules,
    pub(crate) align: Align,
    /// As of the last step that was written.
    pub(crate) positions: Positions,
    /// The last step that was written.
    pub(crate) step: u64,
    pub(crate) watermark: Timestamp,
    /// A step that the rules have run, and that is not written yet.
    pub(crate) pending: Option<AlertStep>,
    /// The step that the last snapshot includes.
    pub(crate) snapshot_step: u64,
    pub(crate) snapshot_at: Timestamp,
    pub(crate) effects_since_snapshot: u64,
    /// Since when something has been waiting without any progress.
    pub(crate) held_since: Option<Timestamp>,
}

/// What steps are written to, and under which terms.
pub(crate) struct Desk<'a, L> {
    pub(crate) log: &'a L,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) options: &'a AlertOptions,
    /// Called when alerts were written.
    pub(crate) written: &'a (dyn Fn() + Sync),
}

impl Work {
    /// Writes what is pending, and goes on as far as `reach` allows, step by step. Whether any step was written.
    pub(crate) async fn go_on<L: AlertLog>(
        &mut self,
        desk: &Desk<'_, L>,
        tenure: &mut Tenure,
        reach: Reach,
    ) -> Result<bool> {
        let mut progress = false;
        loop {
            let lease = tenure.renewed(desk.log, desk.clock).await?;
            if let Some(step) = &self.pending {
                failpoint::reach(stage::ALERT_STEP);
                desk.log.step(&lease, step).await?;
                self.written(desk);
                (progress, self.held_since) = (true, None);
            }
            if self.snapshot_is_due(desk) {
                self.snapshot_or_later(desk, &lease).await?;
            }
            if !self.prepare(desk, reach).await? {
                return Ok(progress);
            }
        }
    }

    /// Goes on without waiting where too much waits, or for too long.
    pub(crate) async fn go_on_anyway<L: AlertLog>(
        &mut self,
        desk: &Desk<'_, L>,
        tenure: &mut Tenure,
    ) -> Result<()> {
        let now = desk.clock.now();
        // A clock that was set back begins anew.
        let since = self.held_since.unwrap_or(now).min(now);
        self.held_since = (!self.align.is_empty()).then_some(since);
        let held_too_long = !self.align.is_empty() && now.since(since) >= desk.options.max_hold;
        for reach in [Reach::PassIdle, Reach::Everything] {
            if !held_too_long && self.align.pending() <= desk.options.max_pending {
                break;
            }
            if self.go_on(desk, tenure, reach).await? && self.align.pending() <= desk.options.max_pending {
                break;
            }
        }
        Ok(())
    }

    /// Takes a snapshot if anything has changed since the last.
    pub(crate) async fn snapshot<L: AlertLog>(&mut self, desk: &Desk<'_, L>, lease: &Lease) -> Result<()> {
        if self.step == self.snapshot_step {
            return Ok(());
        }
        failpoint::reach(stage::SNAPSHOT);
        self.save(desk.log, lease).await?;
        self.snapshot_noted(desk);
        Ok(())
    }

    /// Writes a snapshot as of the last step.
    pub(crate) async fn save(&mut self, log: &impl AlertLog, lease: &Lease) -> Result<()> {
        let states = self.rules.snapshot(self.watermark)?;
        log.save_snapshot(lease, self.step, &self.positions, &states).await?;
        self.rules.saved();
        self.snapshot_step = self.step;
        Ok(())
    }

    fn snapshot_is_due<L>(&self, desk: &Desk<'_, L>) -> bool {
        let options = desk.options;
        let waited = desk.clock.now().since(self.snapshot_at);
        let effects = options.snapshot_effects.max(self.rules.keys() as u64);
        self.step != self.snapshot_step
            && (self.effects_since_snapshot >= effects
                || waited >= options.snapshot_interval
                || self.rules.dirty() >= options.max_dirty)
    }

    /// A snapshot can wait, as long as memory stays bounded.
    async fn snapshot_or_later<L: AlertLog>(&mut self, desk: &Desk<'_, L>, lease: &Lease) -> Result<()> {
        match self.snapshot(desk, lease).await {
            Err(e) if e.is_retriable() && self.rules.dirty() < 2 * desk.options.max_dirty => {
                tracing::warn!(error = %e, "a snapshot of the rules could not be kept yet");
                self.snapshot_noted(desk);
                Ok(())
            }
            result => result,
        }
    }

    fn snapshot_noted<L>(&mut self, desk: &Desk<'_, L>) {
        self.effects_since_snapshot = 0;
        self.snapshot_at = desk.clock.now();
    }

    /// Runs the rules over the next portion, if there is one; what comes of it is pending then.
    async fn prepare<L: AlertLog>(&mut self, desk: &Desk<'_, L>, reach: Reach) -> Result<bool> {
        let Some(portion) = self.align.portion(reach, desk.options.max_step, desk.clock.now()) else {
            return Ok(false);
        };
        let latest = come_to(&portion.effects).map_or(self.watermark, |time| time.min(desk.clock.now()));
        let watermark = self.watermark.max(latest);
        let alerts = run(&mut self.rules, desk.log, &portion.effects, watermark).await?;
        self.effects_since_snapshot += portion.effects.len() as u64;
        let consumed = portion.consumed;
        self.align.consume(&consumed);
        self.pending = Some(AlertStep { number: self.step + 1, watermark, consumed, alerts });
        Ok(true)
    }

    /// The pending step is in the log.
    fn written<L>(&mut self, desk: &Desk<'_, L>) {
        let Some(step) = self.pending.take() else { return };
        for range in &step.consumed {
            self.positions.set(range.partition, range.to);
        }
        (self.step, self.watermark) = (step.number, step.watermark);
        if !step.alerts.is_empty() {
            (desk.written)();
        }
    }
}

/// The time that a step has come to. A few events whose clocks are ahead must not carry all keys' time with them: of
/// many effects, ordered by time, a tenth may lie beyond.
fn come_to(effects: &[&Effect]) -> Option<Timestamp> {
    let beyond = if effects.len() < 20 { 0 } else { effects.len() / 10 };
    effects.len().checked_sub(1 + beyond).map(|at| effects[at].time)
}

/// Runs the rules over one step's effects. On an error no rule has seen any of them.
pub(crate) async fn run(
    rules: &mut Rules,
    log: &impl AlertLog,
    effects: &[&Effect],
    watermark: Timestamp,
) -> Result<Vec<Notification>> {
    let hasher = rules.hasher();
    let hashed: Vec<_> = effects.iter().map(|e| hasher.hash(e)).collect();
    load(rules, log, &hashed).await?;
    let mut raised = Vec::new();
    for (i, chunk) in hashed.chunks(CHUNK).enumerate() {
        rules.observe(i * CHUNK, chunk, &mut raised);
        // A step may take a while: others have a turn now and then.
        tokio::task::yield_now().await;
    }
    Ok(rules.finish(effects.len(), watermark, raised))
}

/// Reads the exact states that are not in memory.
async fn load(rules: &mut Rules, log: &impl AlertLog, effects: &[HashedEffect<'_>]) -> Result<()> {
    for missing in rules.missing(effects) {
        for keys in missing.keys.chunks(LOAD) {
            let rule = rules.name(missing.rule).to_owned();
            let names: Vec<_> = keys.iter().map(|(_, key)| key.as_key().to_string()).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let states = log.exact_states(&rule, &names).await?;
            if states.len() != keys.len() {
                let detail = format!("{} states of rule {rule} for {} keys", states.len(), keys.len());
                return Err(Error::new(ErrorKind::Corrupt, detail));
            }
            for (key, state) in keys.iter().zip(states) {
                rules.load(missing.rule, key.clone(), state.as_deref())?;
            }
        }
    }
    Ok(())
}
