//! The history and its totals in `state.db`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::backend::batch::without_repeats;
use feedkit_core::effect::LikePolicy;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::history::{
    Claim, CommitBatch, Committed, JournalRead, Retained, RetentionPolicy, Snapshot,
};
use feedkit_core::queries::RankedPost;
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, ErrorKind, EventId, History, Offset, Partition, Positions, Result, Timestamp};
use hashbrown::HashMap;
use parking_lot::Mutex;
use rusqlite::params;

use super::database::Database;
use super::failure::Sql;
use super::leaders::Leaders;
use super::policy::Policy;
use super::ranking::Order;
use super::snapshot::SqliteSnapshot;
use super::totals::{HISTORY, Totals};
use super::{commit, gaps, journal, positions, rebuild, retention, schema};

/// A [`History`] that changes the totals in its own commits, and also answers
/// [`Queries`](feedkit_core::Queries).
///
/// Commits of several partitions that wait at the same time share one transaction and one sync.
/// Clones share the files.
#[derive(Clone)]
pub struct SqliteHistory {
    pub(super) state: Arc<Database>,
    /// Gives the time at which followers note their positions.
    clock: Arc<dyn Clock>,
    policy: Policy,
    leaders: Arc<Leaders>,
    /// The newest id committed, by partition. Newer ids need not be looked up. If the value is too
    /// new, it only costs lookups.
    newest: Arc<Mutex<HashMap<Partition, EventId>>>,
}

impl SqliteHistory {
    pub(super) fn new(state: Arc<Database>, clock: Arc<dyn Clock>, leaders: Arc<Leaders>) -> Self {
        let policy = Policy { likes: LikePolicy::default(), trending: Trending::default() };
        SqliteHistory { state, clock, policy, leaders, newest: Arc::default() }
    }

    /// Counts likes by `likes` instead of one for each user.
    pub fn with_like_policy(mut self, likes: LikePolicy) -> Self {
        self.policy.likes = likes;
        self
    }

    /// Sets how trending scores fade. It must stay the same for the life of a history.
    pub fn with_trending(mut self, trending: Trending) -> Self {
        self.policy.trending = trending;
        self
    }

    /// How effects are counted.
    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// Computes all totals again from the raw events and the baseline, in one transaction. Readers
    /// see the old ones until it is done.
    ///
    /// # Cancellation
    ///
    /// It runs to its end even if the future is dropped.
    pub async fn rebuild_totals(&self) -> Result<()> {
        let (trending, tell) = (self.policy.trending, self.tell());
        let rebuild = move |connection: &rusqlite::Connection| {
            tell(None);
            rebuild::totals(connection, &trending)
        };
        self.state.write(1, rebuild).await
    }

    /// The newest id that this process has committed in a partition.
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

    /// The first `limit` posts, by the totals.
    pub(super) async fn first(&self, order: Order, limit: usize) -> Result<Vec<RankedPost>> {
        let (leaders, commits) = (Arc::clone(&self.leaders), self.state.committed());
        let first = move |connection: &rusqlite::Connection| match commits {
            Some(commits) => {
                let done = *commits.borrow();
                leaders.first(connection, HISTORY, &order, limit, done)
            }
            // Another process writes, and does not tell this one what it changes.
            None => HISTORY.ranked(connection, &order, limit),
        };
        self.state.read(first).await
    }

    /// Tells the leaders, within the transaction, which totals it changes. `None` means any.
    fn tell(&self) -> impl Fn(Option<&Totals<'_>>) + use<> {
        let (leaders, commits) = (Arc::clone(&self.leaders), self.state.committed());
        move |totals| {
            // The transactions on a file run one after another.
            let next = commits.as_ref().map_or(0, |commits| *commits.borrow() + 1);
            match totals {
                Some(totals) => leaders.changed(totals.liked(), next),
                None => leaders.all_changed(next),
            }
        }
    }

    async fn write(
        &self,
        batch: &Arc<CommitBatch>,
        repeats: usize,
        newest: Option<EventId>,
    ) -> Result<Committed> {
        let (batch, policy) = (Arc::clone(batch), self.policy);
        let tell = self.tell();
        let weight = batch.events.len() + batch.rejected.len() + 1;
        let commit = move |connection: &rusqlite::Connection| {
            let committed =
                commit::commit(connection, &batch, repeats, newest, policy, |totals| tell(Some(totals)))?;
            failpoint::reach(stage::BEFORE_COMMIT);
            Ok(committed)
        };
        self.state.write(weight, commit).await
    }
}

impl fmt::Debug for SqliteHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteHistory").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[async_trait]
impl History for SqliteHistory {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        let group = group.to_owned();
        let claim = move |connection: &rusqlite::Connection| {
            commit::belong_to(connection, &group)?;
            positions::claim(connection, partition)
        };
        self.state.write(1, claim).await
    }

    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        self.state.read(move |connection| positions::claimed(connection, partition)).await
    }

    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        let partition = batch.partition;
        let newest = batch.events.iter().map(|logged| logged.event.id).max();
        let (batch, repeats) = without_repeats(batch);
        let mut outcome = self.write(&batch, repeats, self.newest(partition)).await;
        if matches!(&outcome, Err(error) if error.kind() == ErrorKind::Data) {
            // Either an event is stored under another partition, or a value cannot be stored.
            // Looking up every event tells which.
            outcome = self.write(&batch, repeats, None).await;
        }
        if outcome.is_ok() {
            self.remember(partition, newest);
        }
        outcome
    }

    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        self.state.read(move |connection| journal::read(connection, partition, from, max_effects)).await
    }

    async fn positions(&self) -> Result<Positions> {
        self.state.read(positions::all).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(SqliteSnapshot::open(self.state.hold().await?).await?))
    }

    async fn incarnation(&self) -> Result<u128> {
        self.state.read(schema::incarnation).await
    }

    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()> {
        let (follower, noted) = (follower.to_owned(), self.clock.now());
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let note = move |connection: &rusqlite::Connection| -> Sql<()> {
            connection
                .prepare_cached(
                    "INSERT INTO followers (name, partition, position, noted) \
                     VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT DO UPDATE SET position = excluded.position, noted = excluded.noted",
                )?
                .execute(params![follower, partition.0, position, noted.as_millis()])?;
            Ok(())
        };
        self.state.write(1, note).await
    }

    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
        let policy = policy.clone();
        self.state.write(1, move |connection| retention::retain(connection, &policy, now)).await
    }

    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        self.state.write(1, move |connection| gaps::accept(connection, partition, log, to, now)).await
    }
}
