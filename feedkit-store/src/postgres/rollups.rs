//! The follower that keeps totals and hourly sums.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::follower::FollowerPosition;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, ErrorKind, Follower, History, Offset, Partition, Result};
use parking_lot::{Mutex, MutexGuard};

use super::held::{Held, Write};
use super::numbers::number;
use super::options::RollupOptions;
use super::pool::{reading, transaction};
use super::rollup_positions::store;
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
/// writes those of all partitions at once. Entries that come during a write are held for the next
/// one. Two processes may do this at the same time: each locks the positions that it moves, and
/// applies only the entries after them.
pub struct PostgresRollups {
    store: Handle,
    options: RollupOptions,
    held: Mutex<Held>,
    /// Writes are made one after the other, so that each follows on the one before.
    turn: tokio::sync::Mutex<()>,
}

impl PostgresRollups {
    pub(super) fn new(store: &Handle, options: RollupOptions) -> Self {
        PostgresRollups { store: store.clone(), options, held: Mutex::default(), turn: Default::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock()
    }

    /// Writes all held entries. Waits for a write that is under way.
    async fn flush(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let Some(write) = Write::begin(&self.held) else { return Ok(()) };
        failpoint::reach(stage::FOLLOWER);
        let trending = self.store.trending();
        match transaction!(self.store.database(), session => store(session, write.runs(), &trending).await) {
            Ok(positions) => {
                write.stored(positions);
                Ok(())
            }
            Err(error) => {
                if error.kind() == ErrorKind::Retriable {
                    write.put_back();
                }
                Err(error)
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
        let before = self.held().settled(partition);
        let stored = reading!(self.store.database(), session => {
            let select = session
                .prepare_cached(
                    "SELECT (SELECT position FROM rollup_positions WHERE partition = $1), \
                     EXISTS (SELECT 1 FROM rollup_rebuild)",
                )
                .await?;
            let row = session.query_one(&select, &[&p]).await?;
            let position = row.get::<_, Option<i64>>(0).map_or(0, |position| position as Offset);
            Ok(if row.get(1) { None } else { Some(position) })
        })?;
        let Some(stored) = stored else {
            return Ok(FollowerPosition::Rebuild("a rebuild has begun and is not finished".to_owned()));
        };
        let mut held = self.held();
        // If a write was under way meanwhile, this may be the position from before it.
        if before.is_some() && held.settled(partition) == before {
            held.found(partition, stored);
        }
        Ok(FollowerPosition::At(stored))
    }

    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let known = self.held().end(partition);
        let at = match known {
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
            let next = held.add(partition, at, entries);
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
        rebuild::totals(self.store.database(), &self.store.trending(), self.options.rebuild_rows).await
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
