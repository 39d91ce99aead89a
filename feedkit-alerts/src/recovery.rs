//! The recovery continues where the last owner of the lease stopped.

use feedkit_core::alert_log::{AlertStep, Consumed, RecordedStep};
use feedkit_core::failpoint::{self, stage};
use feedkit_core::history::{History, JournalRead};
use feedkit_core::lease::Lease;
use feedkit_core::{AlertLog, Clock, Error, Positions, Result, Timestamp};

use crate::RuleSet;
use crate::align::Alignment;
use crate::engine::Rules;
use crate::options::AlertOptions;
use crate::step::{self, Work};

/// Number of effects or posts to read at once.
const READ: usize = 20_000;

/// The result of a recovery.
pub(crate) enum Outcome {
    /// The states are those after the last step.
    Work(Box<Work>),
    /// The recorded steps cannot be run again, for this reason. The states must be rebuilt.
    Rebuild(String),
}

/// What a recovery reads.
pub(crate) struct Sources<'a, L, H: ?Sized> {
    pub(crate) log: &'a L,
    pub(crate) history: &'a H,
    pub(crate) set: &'a RuleSet,
    pub(crate) options: &'a AlertOptions,
    pub(crate) clock: &'a dyn Clock,
}

impl<L: AlertLog, H: History + ?Sized> Sources<'_, L, H> {
    /// Loads the last snapshot, and runs the steps after it again over the recorded ranges. The
    /// result is the same states. The alerts of those steps are stored already.
    ///
    /// Renews the lease as often as needed, however long the recovery takes.
    pub(crate) async fn recover(&self, lease: &Lease) -> Result<Outcome> {
        let recovered = self.log.recover(lease).await?;
        let limits = &self.options.limits();
        let (mut rules, mut watermark, mut positions, mut step) = match recovered.snapshot {
            Some(s) => {
                let (rules, watermark) = Rules::restore(self.set, limits, &s.states)?;
                (rules, watermark, s.positions, s.step)
            }
            None => (Rules::new(self.set, limits)?, Timestamp::EPOCH, Positions::new(), 0),
        };
        let snapshot_step = step;
        let mut effects_since_snapshot = 0;
        let mut align = Alignment::new(&positions, &Positions::new(), self.clock.now());
        let mut renewed = self.clock.now();
        for recorded in &recovered.steps {
            let now = self.clock.now();
            if now.since(renewed) >= self.options.lease_ttl / 3 {
                self.log.renew(lease, now, self.options.lease_ttl).await?;
                renewed = now;
            }
            if let Err(reason) = self.read(&mut align, &positions, recorded, step).await? {
                return Ok(Outcome::Rebuild(reason));
            }
            let portion = align.ranges(&recorded.consumed);
            step::run(&mut rules, self.log, &portion.effects, recorded.watermark).await?;
            effects_since_snapshot += portion.effects.len() as u64;
            align.consume(&recorded.consumed);
            recorded.consumed.iter().for_each(|range| positions.set(range.partition, range.to));
            (step, watermark) = (recorded.number, recorded.watermark);
        }
        let ends = self.history.positions().await?;
        if !ends.covers(&positions) {
            return Ok(Outcome::Rebuild("the history ends before the position of the alerts".into()));
        }
        tracing::info!(step, steps = recovered.steps.len(), effects_since_snapshot, "recovered the alerts");
        let work = Work {
            align: Alignment::new(&positions, &ends, self.clock.now()),
            snapshot_at: self.clock.now(),
            snapshot_step,
            effects_since_snapshot,
            ..Work::new(rules, positions, step, watermark)
        };
        Ok(Outcome::Work(Box::new(work)))
    }

    /// Sets the states that can be computed from totals, and continues from the positions of those
    /// totals. All other states start over.
    pub(crate) async fn rebuild(&self, lease: &Lease) -> Result<Work> {
        let recovered = self.log.recover(lease).await?;
        let (mut before, last_snapshot) =
            recovered.snapshot.map_or_else(Default::default, |s| (s.positions, s.step));
        let last_step = recovered.steps.last().map_or(last_snapshot, |s| s.number);
        for range in recovered.steps.iter().flat_map(|s| &s.consumed) {
            before.set(range.partition, range.to);
        }
        let mut rules = Rules::new(self.set, &self.options.limits())?;
        let mut raised = Vec::new();
        let mut totals = self.history.snapshot().await?;
        let positions = totals.positions().clone();
        loop {
            let some = totals.next(READ).await?;
            if some.is_empty() {
                break;
            }
            some.iter().for_each(|post| rules.rebuild(post, &mut raised));
        }
        let moved = |(partition, to)| Consumed { partition, from: before.of(partition), to };
        let alert_step = AlertStep {
            number: last_step + 1,
            watermark: Timestamp::EPOCH,
            consumed: positions.iter().map(moved).filter(|c| c.from != c.to).collect(),
            alerts: raised.into_iter().map(|r| r.notification).collect(),
        };
        failpoint::reach(stage::REBUILD);
        self.log.step(lease, &alert_step).await?;
        // The step that was just stored cannot be run again. A recovery before the snapshot is
        // stored leads to another rebuild.
        let mut work = Work {
            align: Alignment::new(&positions, &self.history.positions().await?, self.clock.now()),
            snapshot_at: self.clock.now(),
            ..Work::new(rules, positions, alert_step.number, alert_step.watermark)
        };
        work.save(self.log, lease).await?;
        Ok(work)
    }

    /// Reads the entries that a recorded step consumed, or says why they cannot be read.
    async fn read(
        &self,
        align: &mut Alignment,
        positions: &Positions,
        recorded: &RecordedStep,
        last: u64,
    ) -> Result<Result<(), String>> {
        if recorded.number != last + 1 {
            return Err(Error::corrupt(format!(
                "the alert log has step {} after step {last}",
                recorded.number
            )));
        }
        for &Consumed { partition, from, to } in &recorded.consumed {
            if from != positions.of(partition) || to < from {
                return Ok(Err(format!(
                    "alert step {} covers the offsets {from} to {to} of partition {partition}, but the step before \
                     ended at offset {}",
                    recorded.number,
                    positions.of(partition)
                )));
            }
            while align.end(partition) < to {
                match self.history.journal(partition, align.end(partition), READ).await? {
                    JournalRead::Entries(entries) if entries.is_empty() => {
                        return Ok(Err("the history ends before the position of the alerts".into()));
                    }
                    JournalRead::Entries(entries) => {
                        align.push(partition, &entries, self.clock.now()).map(drop)?
                    }
                    JournalRead::Expired(start) => {
                        return Ok(Err(format!(
                            "the journal of partition {partition} begins at offset {start}, but the alerts need \
                             it from offset {} on",
                            align.end(partition)
                        )));
                    }
                }
            }
        }
        Ok(Ok(()))
    }
}

impl Work {
    fn new(rules: Rules, positions: Positions, step: u64, watermark: Timestamp) -> Self {
        Work {
            rules,
            align: Alignment::default(),
            positions,
            step,
            watermark,
            pending: None,
            snapshot_step: step,
            snapshot_at: Timestamp::EPOCH,
            effects_since_snapshot: 0,
            held_since: None,
        }
    }
}
