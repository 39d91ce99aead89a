//! A history in memory.

mod commit;
mod inspect;
mod queries;
mod retention;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::backend::batch::check_group;
use crate::effect::LikePolicy;
use crate::history::{
    Claim, CommitBatch, Committed, History, JournalRead, Rejected, Retained, RetentionPolicy, Snapshot,
};
use crate::journal::JournalEntry;
use crate::trending::{Score, Trending};
use crate::{
    Clock, Error, Event, EventId, Offset, Partition, Positions, PostId, Result, SystemClock, Timestamp,
    UserId,
};

/// A history in memory, which implements [`History`], [`Queries`](crate::Queries) and
/// [`Inspect`](crate::Inspect). Its contents are lost when it is dropped.
///
/// A commit from another incarnation of the log than that of the position fails with a gap, until
/// [`accept_gap`](History::accept_gap) has moved the partition.
pub struct MemoryHistory {
    clock: Box<dyn Clock>,
    policy: LikePolicy,
    trending: Trending,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    incarnation: u128,
    /// The consumer group that the history belongs to.
    group: Option<String>,
    claims: BTreeMap<Partition, Claim>,
    events: HashMap<(EventId, UserId), Kept>,
    posts: BTreeMap<PostId, PostState>,
    journal: BTreeMap<Partition, VecDeque<Journaled>>,
    rejected: BTreeMap<(Partition, Offset, u128), Rejected>,
    followers: BTreeMap<String, Follower>,
    losses: Vec<Loss>,
}

/// A raw event.
struct Kept {
    event: Event,
    effective: bool,
}

/// What the effects of the events say about one post.
#[derive(Default, Clone)]
struct PostState {
    author: Option<UserId>,
    counts: Counts,
    hours: BTreeMap<Timestamp, Counts>,
    score: Score,
    likers: BTreeMap<UserId, Timestamp>,
    comments: BTreeMap<(Timestamp, EventId, UserId), Option<String>>,
    /// The sums of dropped events in `counts`.
    baseline: Counts,
}

/// Net counts by kind.
type Counts = BTreeMap<String, i64>;

struct Journaled {
    /// When it was committed.
    time: Timestamp,
    entry: Arc<JournalEntry>,
}

struct Follower {
    noted_at: Timestamp,
    positions: Positions,
}

/// Records that were never read, a loss that an operator accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loss {
    partition: Partition,
    from: Offset,
    to: Offset,
    log: u128,
    time: Timestamp,
}

impl Default for MemoryHistory {
    fn default() -> Self {
        MemoryHistory::new()
    }
}

impl MemoryHistory {
    /// Creates an empty history.
    pub fn new() -> Self {
        MemoryHistory::with_clock(SystemClock)
    }

    /// Creates an empty history. `clock` gives the time at which followers note their positions.
    pub fn with_clock(clock: impl Clock) -> Self {
        let state = State { incarnation: Uuid::now_v7().as_u128(), ..State::default() };
        MemoryHistory {
            clock: Box::new(clock),
            policy: LikePolicy::default(),
            trending: Trending::default(),
            state: Mutex::new(state),
        }
    }

    /// Sets how likes are counted.
    pub fn with_like_policy(mut self, policy: LikePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how trending scores decay.
    pub fn with_trending(mut self, trending: Trending) -> Self {
        self.trending = trending;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave a partial change behind.
        self.state.lock()
    }
}

#[async_trait]
impl History for MemoryHistory {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        let mut state = self.state();
        match &state.group {
            None => state.group = Some(group.to_owned()),
            Some(owner) => check_group(owner, group)?,
        }
        let claim = state.claims.entry(partition).or_default();
        claim.epoch += 1;
        Ok(*claim)
    }

    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        Ok(self.state().claims.get(&partition).copied().unwrap_or_default())
    }

    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        self.state().commit(batch, self.policy, &self.trending)
    }

    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        self.state().read_journal(partition, from, max_effects)
    }

    async fn positions(&self) -> Result<Positions> {
        Ok(self.state().positions())
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(snapshot::MemorySnapshot::of(&self.state())))
    }

    async fn incarnation(&self) -> Result<u128> {
        Ok(self.state().incarnation)
    }

    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.state();
        let noted = state
            .followers
            .entry(follower.to_owned())
            .or_insert_with(|| Follower { noted_at: now, positions: Positions::new() });
        noted.noted_at = now;
        noted.positions.set(partition, position);
        Ok(())
    }

    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
        Ok(self.state().retain(policy, now))
    }

    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        self.state().accept_gap(partition, log, to, now)
    }
}

impl State {
    fn positions(&self) -> Positions {
        self.claims.iter().map(|(partition, claim)| (*partition, claim.position)).collect()
    }

    fn read_journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        let position = self.claims.get(&partition).map_or(0, |c| c.position);
        if from > position {
            let detail =
                format!("partition {partition} is at {position}, but its journal was asked for from {from}");
            return Err(Error::gap(detail));
        }
        let none = VecDeque::new();
        let journal = self.journal.get(&partition).unwrap_or(&none);
        let start = journal.front().map_or(position, |j| j.entry.from);
        if from < start {
            return Ok(JournalRead::Expired(start));
        }
        let first = journal.partition_point(|j| j.entry.to <= from);
        let mut effects = 0;
        let fits = |(i, j): &(usize, &Journaled)| {
            effects += j.entry.effects.len();
            *i == 0 || effects <= max_effects
        };
        let entries = journal.iter().skip(first).enumerate().take_while(fits);
        Ok(JournalRead::Entries(entries.map(|(_, j)| Arc::clone(&j.entry)).collect()))
    }

    fn accept_gap(&mut self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        let Some(claim) = self.claims.get_mut(&partition) else {
            return Err(Error::invalid(format!("partition {partition} was never claimed")));
        };
        let from = claim.position;
        *claim = Claim { position: to, log: Some(log), last: None, ..*claim };
        self.losses.push(Loss { partition, from, to, log, time: now });
        if to >= from {
            // An entry without effects takes followers over the gap.
            let epoch = claim.epoch;
            let entry = JournalEntry { partition, from, to, epoch, at_end: false, effects: Vec::new() };
            let journaled = Journaled { time: now, entry: Arc::new(entry) };
            if to > from {
                self.journal.entry(partition).or_default().push_back(journaled);
            }
        } else {
            // The same offsets occur again, so the followers have to start over.
            self.journal.remove(&partition);
            self.followers.values_mut().for_each(|f| f.positions.set(partition, to));
            self.incarnation = Uuid::now_v7().as_u128();
        }
        Ok(())
    }
}
