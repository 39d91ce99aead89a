//! The follower that keeps totals and hourly sums.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::follower::FollowerPosition;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, ErrorKind, Follower, History, Offset, Partition, Result};
use parking_lot::{Mutex, MutexGuard};

use super::numbers::number;
use super::options::RollupOptions;
use super::pool::{reading, transaction};
use super::rollup_positions::{Run, store};
use super::shared::Handle;
use super::{rebuild, schema};

/// Maximum number of ticks before a write, however quickly they come.
const MAX_TICKS: u32 = 10;
/// How long to hold effects, in multiples of the time that the last write took.
const PAUSES: u32 = 4;
/// Maximum time for which a slow write makes effects wait.
const LONGEST_LINGER: Duration = Duration::from_secs(1);

/// Keeps `post_totals` and `post_hourly`, and moves their positions in the same transaction.
///
/// It holds the entries until there are many of them or the first has waited long enough, and then
/// writes those of all partitions at once. Two processes may do this at the same time: each locks
/// the positions that it moves, and applies only the entries after them.
pub struct PostgresRollups {
    store: Handle,
    options: RollupOptions,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    runs: BTreeMap<Partition, Run>,
    /// The last known positions of partitions without held entries.
    stored: BTreeMap<Partition, Offset>,
    effects: usize,
    since: Option<Instant>,
    ticks: u32,
    /// How long the last write took.
    took: Duration,
}

impl PostgresRollups {
    pub(super) fn new(store: &Handle, options: RollupOptions) -> Self {
        PostgresRollups { store: store.clone(), options, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock()
    }

    /// The position of `partition`, with the held entries, if it is known.
    fn known(&self, partition: Partition) -> Option<Offset> {
        let held = self.held();
        held.runs.get(&partition).and_then(Run::to).or_else(|| held.stored.get(&partition).copied())
    }

    /// Writes all held entries.
    async fn flush(&self) -> Result<()> {
        let runs = {
            let mut held = self.held();
            (held.effects, held.since, held.ticks) = (0, None, 0);
            // Until the outcome is known, positions must be read from the database.
            held.stored.clear();
            std::mem::take(&mut held.runs)
        };
        if runs.is_empty() {
            return Ok(());
        }
        failpoint::reach(stage::FOLLOWER);
        let (trending, started) = (self.store.trending(), Instant::now());
        match transaction!(self.store.database(), session => store(session, &runs, &trending).await) {
            Ok(stored) => {
                let mut held = self.held();
                held.took = started.elapsed();
                held.stored.extend(stored);
                Ok(())
            }
            Err(error) => {
                if error.kind() == ErrorKind::Retriable {
                    self.put_back(runs);
                }
                Err(error)
            }
        }
    }

    /// Holds entries again that could not be written.
    fn put_back(&self, runs: BTreeMap<Partition, Run>) {
        let mut held = self.held();
        for (partition, run) in runs {
            // Newer entries may be held in the meantime. Then these are read from the journal
            // again.
            if !held.runs.contains_key(&partition) {
                held.effects += run.effects();
                held.since = held.since.or(Some(Instant::now()));
                held.runs.insert(partition, run);
            }
        }
    }
}

impl fmt::Debug for PostgresRollups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRollups").field("options", &self.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl Follower for PostgresRollups {
    fn name(&self) -> &str {
        "rollups"
    }

    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        let p = number(partition)?;
        let stored = reading!(self.store.database(), session => {
            let select =
                session.prepare_cached("SELECT position FROM rollup_positions WHERE partition = $1").await?;
            Ok(session.query_opt(&select, &[&p]).await?.map_or(0, |row| row.get::<_, i64>(0) as Offset))
        })?;
        let mut held = self.held();
        let follows = |run: &Run| {
            run.entries.first().is_none_or(|e| e.from <= stored) && run.to().is_none_or(|to| to > stored)
        };
        // Others may have moved the partition. Entries that no longer follow on its position are
        // dropped.
        if let Some(run) = held.runs.remove(&partition) {
            if follows(&run) {
                held.runs.insert(partition, run);
            } else {
                held.effects -= run.effects();
            }
        }
        held.stored.insert(partition, stored);
        Ok(FollowerPosition::At(stored))
    }

    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let at = match self.known(partition) {
            Some(at) => at,
            None => match self.position(partition).await? {
                FollowerPosition::At(at) => at,
                _ => return Err(Error::retriable("the rollups are being rebuilt")),
            },
        };
        let Some(first) = entries.first() else { return Ok(at) };
        if first.from > at {
            let message = format!(
                "the rollups of partition {partition} stand at {at}, the entries begin at {}",
                first.from
            );
            return Err(Error::gap(message));
        }
        if self.held().effects >= self.options.max_held {
            self.flush().await?;
        }
        let (next, full) = {
            let mut held = self.held();
            let Held { runs, effects, since, ticks, .. } = &mut *held;
            let run = runs.entry(partition).or_default();
            let mut next = run.to().unwrap_or(at);
            for entry in entries.iter().filter(|entry| entry.to > at) {
                // With two callers at once, entries that the other has already added are skipped.
                if entry.to > next && entry.from <= next {
                    *effects += entry.effects.len();
                    run.entries.push(Arc::clone(entry));
                    next = entry.to;
                }
            }
            if run.entries.is_empty() {
                runs.remove(&partition);
            } else if since.is_none() {
                (*since, *ticks) = (Some(Instant::now()), 0);
            }
            (next, held.effects >= self.options.max_held)
        };
        if full {
            self.flush().await?;
        }
        Ok(next)
    }

    /// Computes the sums again from the raw events of its own history. It cannot read another
    /// history's.
    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        let own = reading!(self.store.database(), session => schema::incarnation(session).await)?;
        if history.incarnation().await? != own {
            return Err(Error::fatal(
                "rollups in PostgreSQL can follow only the history in the same database",
            ));
        }
        {
            let mut held = self.held();
            *held = Held::default();
        }
        rebuild::totals(self.store.database(), &self.store.trending()).await
    }

    async fn tick(&self) -> Result<()> {
        let due = {
            let mut held = self.held();
            held.ticks += 1;
            let linger = (held.took * PAUSES).min(LONGEST_LINGER).max(self.options.linger);
            held.since.is_some_and(|since| since.elapsed() >= linger || held.ticks >= MAX_TICKS)
        };
        if due { self.flush().await } else { Ok(()) }
    }

    async fn close(&self) -> Result<()> {
        self.flush().await
    }
}
