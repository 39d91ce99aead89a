//! The truth: what has been committed, and the only thing transactional with the position in the log.

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

/// Keeps events, decides which had an effect, and journals the effects.
///
/// # Contract
///
/// - [`claim`](History::claim) raises the partition's epoch; from then on a commit with an older epoch is
///   refused as [`Fenced`](crate::ErrorKind::Fenced).
/// - [`commit`](History::commit) is one transaction: it moves the position from `from` to `to`, keeps the new
///   events and the rejected records, and writes one journal entry, also when nothing had an effect. On any error
///   but `Uncertain` it has changed nothing.
/// - A batch whose `from` is not the stored position is refused as [`Gap`](crate::ErrorKind::Gap).
/// - An event whose `(id, user)` is kept already changes nothing and counts as a duplicate. Effects are those of
///   one event at a time in the order of offsets, as [`Fold`](crate::effect::Fold) gives them.
/// - [`journal`](History::journal) returns committed entries only, contiguous and in order; the first contains
///   or begins at the offset asked for.
/// - A [`snapshot`](History::snapshot)'s totals are those of exactly the effects up to its positions.
///
/// # Errors
///
/// [`Uncertain`](crate::ErrorKind::Uncertain) from `commit`: the transaction may have been committed; read
/// [`claimed`](History::claimed) to settle it. [`Data`](crate::ErrorKind::Data): some value in the batch cannot
/// be stored; smaller batches tell which.
///
/// # Cancellation
///
/// A dropped `commit` is uncertain. The other calls only read, or may be repeated.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Takes the partition over for consumer group `group`. A history belongs to the group that claimed first;
    /// another is refused as [`Invalid`](crate::ErrorKind::Invalid).
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim>;

    /// What is stored of the partition now; changes nothing.
    async fn claimed(&self, partition: Partition) -> Result<Claim>;

    /// Commits a batch.
    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed>;

    /// Entries of the partition from offset `from` on: at least one if there is any, then as many as fit
    /// `max_effects`.
    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead>;

    /// The next offset of every partition that was ever claimed.
    async fn positions(&self) -> Result<Positions>;

    /// A consistent view of all totals.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// This history's incarnation: another one after it was made anew or restored from a backup.
    async fn incarnation(&self) -> Result<u128>;

    /// Notes how far a follower has come; the journal is kept for those noted. The first note registers it.
    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()>;

    /// Drops what `policy` no longer keeps.
    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained>;

    /// Moves a partition that stopped at a gap to `to`, in log `log`, and records the loss. The offset may lie
    /// before the present position when the log was made anew.
    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()>;
}

/// What a history holds of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    /// How often the partition was claimed.
    pub epoch: Epoch,
    /// The next offset to commit.
    pub position: Offset,
    /// The log that the position belongs to; unknown before the first commit.
    pub log: Option<u128>,
    /// The last record committed.
    pub last: Option<RecordMark>,
}

/// A contiguous run of one partition's records, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitBatch {
    /// The partition.
    pub partition: Partition,
    /// The epoch under which it was claimed.
    pub epoch: Epoch,
    /// The log's incarnation.
    pub log: u128,
    /// The stored position that the batch follows on.
    pub from: Offset,
    /// The position after it.
    pub to: Offset,
    /// Whether the log held nothing more of the partition.
    pub at_end: bool,
    /// The events, by ascending offset.
    pub events: Vec<LoggedEvent>,
    /// The records that are no events, by ascending offset.
    pub rejected: Vec<Rejected>,
    /// The last record of the run, if it has any.
    pub last: Option<RecordMark>,
    /// When the batch was put together.
    pub now: Timestamp,
}

/// Most bytes kept of a rejected record.
pub const MAX_REJECTED_BYTES: usize = 64 * 1024;

/// A record that is no event, kept for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its offset.
    pub offset: Offset,
    /// Its time in the log.
    pub time: Timestamp,
    /// Why.
    pub fault: InvalidEvent,
    /// Its first [`MAX_REJECTED_BYTES`].
    pub value: Bytes,
    /// How many bytes it had.
    pub size: usize,
    /// The XXH3 hash of all its bytes.
    pub hash: u64,
}

impl Rejected {
    /// What is kept of `record`, refused for `fault`.
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

/// What a commit did.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The journal entry it wrote.
    pub entry: Arc<JournalEntry>,
    /// What became of the batch's records.
    pub counts: CommitCounts,
}

/// What became of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitCounts {
    /// Events kept.
    pub accepted: u64,
    /// Events whose identity was kept already.
    pub duplicates: u64,
    /// Records that are no events.
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

/// What the journal holds from an offset on.
#[derive(Debug, Clone)]
pub enum JournalRead {
    /// Entries in order; none when the offset is the partition's position.
    Entries(Vec<Arc<JournalEntry>>),
    /// The journal no longer reaches back so far; it begins here.
    Expired(Offset),
}

/// A consistent view of all totals, read in portions.
#[async_trait]
pub trait Snapshot: Send {
    /// The positions that the totals belong to.
    fn positions(&self) -> &Positions;

    /// The next totals, at most `limit` posts, by post; none at the end.
    async fn next(&mut self, limit: usize) -> Result<Vec<PostTotals>>;
}

/// All that is counted of one post.
#[derive(Debug, Clone, PartialEq)]
pub struct PostTotals {
    /// The post.
    pub post: PostId,
    /// Its author, if one has published it.
    pub author: Option<UserId>,
    /// Counts by kind, by name; `like` holds the likes that stand.
    pub counts: Vec<(String, i64)>,
    /// Its trending score.
    pub score: crate::trending::Score,
}

/// What is kept, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Raw events whose id is older may be dropped, a whole time partition at once.
    pub events: Duration,
    /// The journal reaches back at least this far beyond the slowest follower.
    pub journal: Duration,
    /// A follower that has noted nothing for longer is passed over: it will have to be rebuilt.
    pub follower_silence: Duration,
}

impl Default for RetentionPolicy {
    /// Events for ten years, the journal for a day, silent followers for seven.
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        RetentionPolicy { events: 3653 * day, journal: day, follower_silence: 7 * day }
    }
}

/// What retention dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Raw events, folded into the baseline.
    pub events: u64,
    /// Journal entries.
    pub journal_entries: u64,
    /// Followers passed over.
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
