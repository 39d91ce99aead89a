//! The committed events: the contract [`History`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::InvalidEvent;
use crate::effect::LoggedEvent;
use crate::forward::forward;
use crate::journal::JournalEntry;
use crate::source::{Record, RecordMark};
use crate::{Epoch, Offset, Partition, Positions, PostId, Result, Timestamp, UserId};

/// Stores events, decides which events have an effect, and writes the effects to a journal.
///
/// The history is the source of truth. It stores the positions in the log in the same transactions
/// as the events.
///
/// # Contract
///
/// - [`claim`](History::claim) increases the epoch of the partition. From then on a commit with an
///   older epoch fails with [`Fenced`](crate::ErrorKind::Fenced).
/// - [`commit`](History::commit) is one transaction. It moves the position from `from` to `to`,
///   stores the new events and the rejected records, and writes one journal entry. It writes the
///   entry even if no event had an effect. If it fails with any error other than `Uncertain`, it
///   has changed nothing.
/// - A batch whose `from` is not the stored position fails with [`Gap`](crate::ErrorKind::Gap).
/// - An event whose `(id, user)` is already stored changes nothing and counts as a duplicate. The
///   effects are the same as if the events were applied one at a time in the order of their
///   offsets, as [`Fold`](crate::effect::Fold) computes them.
/// - [`journal`](History::journal) returns committed entries only, contiguous and in order. The
///   first entry contains the requested offset or begins at it.
/// - The totals of a [`snapshot`](History::snapshot) include exactly the effects up to its
///   positions.
///
/// # Errors
///
/// [`Uncertain`](crate::ErrorKind::Uncertain) from `commit`: the transaction may have been
/// committed. Read [`claimed`](History::claimed) to find out. [`Data`](crate::ErrorKind::Data): the
/// history cannot store some value of the batch. Commit smaller batches to find the value.
///
/// # Cancellation
///
/// The outcome of a dropped `commit` is uncertain. The other calls only read, or may be repeated.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Takes over the partition for the consumer group `group`. A history belongs to the first
    /// group that claims a partition. The call fails with [`Invalid`](crate::ErrorKind::Invalid)
    /// for any other group.
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim>;

    /// Returns what is stored of the partition, and changes nothing.
    async fn claimed(&self, partition: Partition) -> Result<Claim>;

    /// Commits a batch.
    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed>;

    /// Returns entries of the partition from offset `from` on: at least one if there is one, and no
    /// further entry that would exceed `max_effects` effects.
    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead>;

    /// Returns the next offset of every partition that was ever claimed.
    async fn positions(&self) -> Result<Positions>;

    /// Returns a consistent view of all totals.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// Returns the incarnation of this history. It changes if the history is created again or
    /// restored from a backup.
    async fn incarnation(&self) -> Result<u128>;

    /// Notes the position of a follower. The first note registers the follower. Retention keeps the
    /// journal for registered followers.
    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()>;

    /// Drops the data that `policy` no longer keeps.
    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained>;

    /// Moves a partition that stopped at a gap to the offset `to` in the log `log`, and records the
    /// loss. The offset may be lower than the current position if the log was created again.
    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()>;
}

/// What a history stores about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    /// How many times the partition was claimed.
    pub epoch: Epoch,
    /// The next offset to commit.
    pub position: Offset,
    /// The incarnation of the log that the position belongs to. It is unknown before the first
    /// commit.
    pub log: Option<u128>,
    /// The last committed record.
    pub last: Option<RecordMark>,
}

/// A contiguous run of decoded records of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitBatch {
    /// The partition.
    pub partition: Partition,
    /// The epoch of the claim.
    pub epoch: Epoch,
    /// The log's incarnation.
    pub log: u128,
    /// The stored position. The batch begins here.
    pub from: Offset,
    /// The position after the batch.
    pub to: Offset,
    /// Whether the log held no further records of the partition.
    pub at_end: bool,
    /// The events, in ascending order of their offsets.
    pub events: Vec<LoggedEvent>,
    /// The records that are not valid events, in ascending order of their offsets.
    pub rejected: Vec<Rejected>,
    /// The last record of the run, unless the run is empty.
    pub last: Option<RecordMark>,
    /// When the batch was assembled.
    pub now: Timestamp,
}

/// Maximum number of bytes stored of a rejected record.
pub const MAX_REJECTED_BYTES: usize = 64 * 1024;

/// A record that is not a valid event. It is stored for a person to inspect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its offset.
    pub offset: Offset,
    /// Its time in the log.
    pub time: Timestamp,
    /// Why it was rejected.
    pub fault: InvalidEvent,
    /// Its first [`MAX_REJECTED_BYTES`].
    pub value: Bytes,
    /// The size of the record in bytes.
    pub size: usize,
    /// The XXH3 hash of all its bytes.
    pub hash: u64,
}

impl Rejected {
    /// Creates what is stored of `record`, which was rejected because of `fault`.
    pub fn new(record: &Record, fault: InvalidEvent) -> Self {
        Rejected {
            offset: record.offset,
            time: record.time,
            fault,
            value: record.value.slice(..record.value.len().min(MAX_REJECTED_BYTES)),
            size: record.value.len(),
            hash: xxh3_64(&record.value),
        }
    }
}

/// The result of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The journal entry that the commit wrote.
    pub entry: Arc<JournalEntry>,
    /// How many records of the batch had which outcome.
    pub counts: CommitCounts,
}

/// How many records had which outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitCounts {
    /// Events that were stored.
    pub accepted: u64,
    /// Events whose id and user were already stored.
    pub duplicates: u64,
    /// Records that are not valid events.
    pub rejected: u64,
    /// Accepted events that had an effect.
    pub effects: u64,
}

impl std::ops::AddAssign for CommitCounts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.effects += other.effects;
    }
}

/// The journal from some offset on.
#[derive(Debug, Clone)]
pub enum JournalRead {
    /// The entries in order. There are none if the offset is the position of the partition.
    Entries(Vec<Arc<JournalEntry>>),
    /// The journal no longer holds the offset. It begins at this offset.
    Expired(Offset),
}

/// A consistent view of all totals, which is read in portions.
#[async_trait]
pub trait Snapshot: Send {
    /// The positions up to which the totals include all effects.
    fn positions(&self) -> &Positions;

    /// Returns the next totals, ordered by post: at most `limit`, and none at the end.
    async fn next(&mut self, limit: usize) -> Result<Vec<PostTotals>>;
}

/// All totals of one post.
#[derive(Debug, Clone, PartialEq)]
pub struct PostTotals {
    /// The post.
    pub post: PostId,
    /// Its author, if a user has published the post.
    pub author: Option<UserId>,
    /// The counts and the names of their kinds, in the order of the names. The count `like` is the
    /// number of users who like the post now.
    pub counts: Vec<(String, i64)>,
    /// Its trending score.
    pub score: crate::trending::Score,
}

/// Decides how long data is kept.
///
/// ```
/// use std::time::Duration;
/// use feedkit_core::history::RetentionPolicy;
///
/// let policy = RetentionPolicy::default().events(Duration::from_secs(90 * 86_400));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionPolicy {
    /// How long raw events are kept, measured from the time of their ids. Older events may be
    /// dropped, a whole time partition at once.
    pub events: Duration,
    /// How far the journal reaches back, at least, beyond the position of the slowest follower.
    pub journal: Duration,
    /// How long a follower may note no position before retention ignores it. Such a follower must
    /// be rebuilt.
    pub follower_silence: Duration,
}

impl Default for RetentionPolicy {
    /// Keeps events for ten years and the journal for a day, and ignores followers that are silent
    /// for seven days.
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        RetentionPolicy { events: 3653 * day, journal: day, follower_silence: 7 * day }
    }
}

impl RetentionPolicy {
    /// Sets `events`.
    #[must_use]
    pub fn events(mut self, events: Duration) -> Self {
        self.events = events;
        self
    }

    /// Sets `journal`.
    #[must_use]
    pub fn journal(mut self, journal: Duration) -> Self {
        self.journal = journal;
        self
    }

    /// Sets `follower_silence`.
    #[must_use]
    pub fn follower_silence(mut self, follower_silence: Duration) -> Self {
        self.follower_silence = follower_silence;
        self
    }
}

/// How much retention has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Raw events. Their effects are kept in the baseline.
    pub events: u64,
    /// Journal entries.
    pub journal_entries: u64,
    /// Followers that were ignored because of their silence.
    pub followers: u64,
}

forward!(History {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim>;
    async fn claimed(&self, partition: Partition) -> Result<Claim>;
    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed>;
    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead>;
    async fn positions(&self) -> Result<Positions>;
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>>;
    async fn incarnation(&self) -> Result<u128>;
    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()>;
    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained>;
    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()>;
});
