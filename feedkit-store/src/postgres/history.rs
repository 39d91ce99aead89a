//! The history in PostgreSQL.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::backend::batch::without_repeats;
use feedkit_core::history::{
    Claim, CommitBatch, Committed, JournalRead, Retained, RetentionPolicy, Snapshot,
};
use feedkit_core::{EventId, History, Offset, Partition, Positions, Result, Timestamp};
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::numbers::number;
use super::pool::{reading, transaction};
use super::shared::Handle;
use super::snapshot::PostgresSnapshot;
use super::sql_time::SqlTime;
use super::time_partition::TimePartition;
use super::{commit, events, gaps, journal, positions, retention, schema};

/// A [`History`] that also answers [`Queries`](feedkit_core::Queries).
///
/// Its commits write raw events, likes, authors and the journal. Most answers come from sums, which
/// [`PostgresRollups`](super::PostgresRollups) keeps and which are a little behind. A
/// [`snapshot`](History::snapshot) is exact: it adds the entries of the journal that the sums lack.
/// Clones share the connections.
#[derive(Clone)]
pub struct PostgresHistory {
    pub(super) store: Handle,
    /// The newest id committed, by partition. Newer ids need not be looked up. If the value is too
    /// new, it costs lookups; if it is too old, it costs a second attempt.
    newest: Arc<Mutex<HashMap<Partition, EventId>>>,
}

impl PostgresHistory {
    pub(super) fn new(store: &Handle) -> Self {
        PostgresHistory { store: store.clone(), newest: Arc::default() }
    }

    /// Gives the history another incarnation, after the database was restored from a backup.
    /// Followers of the history as it was before, such as counters in Redis, then start over. An
    /// operator calls this while nothing commits.
    pub async fn after_restore(&self) -> Result<u128> {
        transaction!(self.store.database(), session => {
            schema::renew_incarnation(session).await?;
            schema::incarnation(session).await
        })
    }

    /// Computes all totals and hourly sums again from the raw events and the baseline. Readers see
    /// the old ones until it is done. Commits go on meanwhile. If this is interrupted, the next call,
    /// or the next pipeline that follows the history, continues.
    pub async fn rebuild_totals(&self) -> Result<()> {
        let rows = super::options::RollupOptions::default().rebuild_rows;
        super::rebuild::totals(self.store.database(), &self.store.trending(), rows).await
    }

    fn newest(&self, partition: Partition) -> Option<EventId> {
        self.newest.lock().get(&partition).copied()
    }

    fn remember(&self, partition: Partition, newest: Option<EventId>) {
        let mut known = self.newest.lock();
        if let Some(newest) = newest {
            let at = known.entry(partition).or_insert(newest);
            *at = newest.max(*at);
        }
    }

    fn forget(&self, partition: Partition) {
        self.newest.lock().remove(&partition);
    }
}

impl fmt::Debug for PostgresHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresHistory").field("store", &self.store).finish_non_exhaustive()
    }
}

#[async_trait]
impl History for PostgresHistory {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        // Other processes may have committed since this one had the partition.
        self.forget(partition);
        transaction!(self.store.database(), session => positions::claim(session, partition, group).await)
    }

    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        reading!(self.store.database(), session => positions::claimed(session, partition).await)
    }

    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        let partition = batch.partition;
        let database = self.store.database();
        let mut newest = self.newest(partition);
        if newest.is_none() && !batch.events.is_empty() {
            newest = reading!(database, session => events::newest_id(session).await)?;
            self.remember(partition, newest);
        }
        let (batch, repeats) = without_repeats(batch);
        // If nothing is stored, every id is newer than the least one.
        let newest = newest.or_else(|| EventId::from_bytes(LEAST).ok());
        let committed = commit::commit(database, &batch, repeats, newest, self.store.policy).await?;
        self.remember(partition, batch.events.iter().map(|logged| logged.event.id).max());
        self.store.shared.committed.set();
        Ok(committed)
    }

    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        let database = self.store.database();
        reading!(database, session => journal::read(session, partition, from, max_effects).await)
    }

    async fn positions(&self) -> Result<Positions> {
        reading!(self.store.database(), session => positions::all(session).await)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(PostgresSnapshot::open(self.store.database(), self.store.trending()).await?))
    }

    async fn incarnation(&self) -> Result<u128> {
        reading!(self.store.database(), session => schema::incarnation(session).await)
    }

    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()> {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let (p, noted) = (number(partition)?, SqlTime(self.store.shared.clock.now()));
        reading!(self.store.database(), session => {
            let upsert = session
                .prepare_cached(
                    "INSERT INTO followers (name, partition, position, noted) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (name, partition) DO UPDATE SET position = excluded.position, \
                     noted = excluded.noted, needs_rebuild = false",
                )
                .await?;
            session.execute(&upsert, &[&follower, &p, &position, &noted]).await?;
            Ok(())
        })
    }

    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
        retention::retain(&self.store, policy, now).await
    }

    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        self.forget(partition);
        let (database, trending) = (self.store.database(), self.store.trending());
        database.ensure(&[TimePartition::day_of(now)?]).await?;
        transaction!(database, session => gaps::accept(session, partition, log, to, now, &trending).await)
    }
}

/// The least UUIDv7.
const LEAST: [u8; 16] = [0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
