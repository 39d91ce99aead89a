//! Steps: the rules run over a portion of effects, and one transaction stores what they raise.

use feedkit_core::alert_log::AlertStep;
use feedkit_core::effect::Effect;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::lease::Lease;
use feedkit_core::notification::Notification;
use feedkit_core::{AlertLog, Clock, Error, ErrorKind, Positions, Result, Timestamp};

use crate::align::{Alignment, Reach};
use crate::engine::{CHUNK, HashedEffect, Rules};
use crate::lease::Tenure;
use crate::options::AlertOptions;

/// Number of exact states to read at once.
const LOAD: usize = 4_000;

/// The rules' states, their position, and the entries that wait. They match the alert log, or are
/// one step ahead of it.
pub(crate) struct Work {
    pub(crate) rules: Rules,
    pub(crate) align: Alignment,
    /// The positions after the last stored step.
    pub(crate) positions: Positions,
    /// The number of the last stored step.
    pub(crate) step: u64,
    pub(crate) watermark: Timestamp,
    /// A step that the rules have run and that is not stored yet.
    pub(crate) pending: Option<AlertStep>,
    /// The last step that the last snapshot includes.
    pub(crate) snapshot_step: u64,
    pub(crate) snapshot_at: Timestamp,
    pub(crate) effects_since_snapshot: u64,
    /// Since when entries have been waiting without progress.
    pub(crate) held_since: Option<Timestamp>,
}

/// What running a step needs besides the rules and the entries.
pub(crate) struct StepContext<'a, L> {
    pub(crate) log: &'a L,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) options: &'a AlertOptions,
    /// Called when alerts were stored.
    pub(crate) on_alerts: &'a (dyn Fn() + Sync),
}

impl Work {
    /// Stores the pending step, then runs and stores further steps as far as `reach` allows.
    /// Returns whether any step was stored.
    pub(crate) async fn advance<L: AlertLog>(
        &mut self,
        context: &StepContext<'_, L>,
        tenure: &mut Tenure,
        reach: Reach,
    ) -> Result<bool> {
        let mut progress = false;
        loop {
            let lease = tenure.renewed(context.log, context.clock).await?;
            if let Some(step) = &self.pending {
                failpoint::reach(stage::ALERT_STEP);
                context.log.step(&lease, step).await?;
                self.stored(context);
                (progress, self.held_since) = (true, None);
            }
            if self.snapshot_is_due(context) {
                self.try_snapshot(context, &lease).await?;
            }
            if !self.prepare(context, reach).await? {
                return Ok(progress);
            }
        }
    }

    /// Runs steps beyond the frontier if too many effects wait, or if they have waited too long.
    pub(crate) async fn release_held<L: AlertLog>(
        &mut self,
        context: &StepContext<'_, L>,
        tenure: &mut Tenure,
    ) -> Result<()> {
        let now = context.clock.now();
        // If the clock was set back, the wait starts over.
        let since = self.held_since.unwrap_or(now).min(now);
        self.held_since = (!self.align.is_empty()).then_some(since);
        let held_too_long = !self.align.is_empty() && now.since(since) >= context.options.max_hold;
        for reach in [Reach::PassIdle, Reach::Everything] {
            if !held_too_long && self.align.pending() <= context.options.max_pending {
                break;
            }
            if self.advance(context, tenure, reach).await?
                && self.align.pending() <= context.options.max_pending
            {
                break;
            }
        }
        Ok(())
    }

    /// Takes a snapshot if any step was stored since the last one.
    pub(crate) async fn snapshot<L: AlertLog>(
        &mut self,
        context: &StepContext<'_, L>,
        lease: &Lease,
    ) -> Result<()> {
        if self.step == self.snapshot_step {
            return Ok(());
        }
        failpoint::reach(stage::SNAPSHOT);
        self.save(context.log, lease).await?;
        self.snapshot_noted(context);
        Ok(())
    }

    /// Stores a snapshot of the states after the last step.
    pub(crate) async fn save(&mut self, log: &impl AlertLog, lease: &Lease) -> Result<()> {
        let states = self.rules.snapshot(self.watermark)?;
        log.save_snapshot(lease, self.step, &self.positions, &states).await?;
        self.rules.saved();
        self.snapshot_step = self.step;
        Ok(())
    }

    fn snapshot_is_due<L>(&self, context: &StepContext<'_, L>) -> bool {
        let options = context.options;
        let waited = context.clock.now().since(self.snapshot_at);
        let effects = options.snapshot_effects.max(self.rules.keys() as u64);
        self.step != self.snapshot_step
            && (self.effects_since_snapshot >= effects
                || waited >= options.snapshot_interval
                || self.rules.dirty() >= options.max_dirty)
    }

    /// Takes a snapshot. If it fails, the next attempt may wait, as long as memory stays bounded.
    async fn try_snapshot<L: AlertLog>(&mut self, context: &StepContext<'_, L>, lease: &Lease) -> Result<()> {
        match self.snapshot(context, lease).await {
            Err(e) if e.is_retriable() && self.rules.dirty() < 2 * context.options.max_dirty => {
                tracing::warn!(error = %e, "could not store a snapshot of the rules; trying again later");
                self.snapshot_noted(context);
                Ok(())
            }
            result => result,
        }
    }

    fn snapshot_noted<L>(&mut self, context: &StepContext<'_, L>) {
        self.effects_since_snapshot = 0;
        self.snapshot_at = context.clock.now();
    }

    /// Runs the rules over the next portion, if there is one, and makes the result the pending
    /// step.
    async fn prepare<L: AlertLog>(&mut self, context: &StepContext<'_, L>, reach: Reach) -> Result<bool> {
        let Some(portion) = self.align.portion(reach, context.options.max_step, context.clock.now()) else {
            return Ok(false);
        };
        let latest =
            latest_time(&portion.effects).map_or(self.watermark, |time| time.min(context.clock.now()));
        let watermark = self.watermark.max(latest);
        let alerts = run(&mut self.rules, context.log, &portion.effects, watermark).await?;
        self.effects_since_snapshot += portion.effects.len() as u64;
        let consumed = portion.consumed;
        self.align.consume(&consumed);
        self.pending = Some(AlertStep { number: self.step + 1, watermark, consumed, alerts });
        Ok(true)
    }

    /// The pending step was stored.
    fn stored<L>(&mut self, context: &StepContext<'_, L>) {
        let Some(step) = self.pending.take() else { return };
        for range in &step.consumed {
            self.positions.set(range.partition, range.to);
        }
        (self.step, self.watermark) = (step.number, step.watermark);
        if !step.alerts.is_empty() {
            (context.on_alerts)();
        }
    }
}

/// The event time that a step has reached.
///
/// A few events whose clocks are ahead must not move the time of all keys. So if there are many
/// effects, a tenth of them may be later.
fn latest_time(effects: &[&Effect]) -> Option<Timestamp> {
    let later = if effects.len() < 20 { 0 } else { effects.len() / 10 };
    effects.len().checked_sub(1 + later).map(|at| effects[at].time)
}

/// Runs the rules over the effects of one step. On an error, no rule has seen any of them.
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
        // A step may take a while. Other tasks get a turn between the chunks.
        tokio::task::yield_now().await;
    }
    Ok(rules.finish(effects.len(), watermark, raised))
}

/// Reads the exact states that the effects need and that are not in memory.
async fn load(rules: &mut Rules, log: &impl AlertLog, effects: &[HashedEffect<'_>]) -> Result<()> {
    for missing in rules.missing(effects) {
        for keys in missing.keys.chunks(LOAD) {
            let rule = rules.name(missing.rule).to_owned();
            let names: Vec<_> = keys.iter().map(|(_, key)| key.as_key().to_string()).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let states = log.exact_states(&rule, &names).await?;
            if states.len() != keys.len() {
                let detail = format!(
                    "the alert log returned {} states of rule {rule} for {} keys",
                    states.len(),
                    keys.len()
                );
                return Err(Error::new(ErrorKind::Corrupt, detail));
            }
            for (key, state) in keys.iter().zip(states) {
                rules.load(missing.rule, key.clone(), state.as_deref())?;
            }
        }
    }
    Ok(())
}
