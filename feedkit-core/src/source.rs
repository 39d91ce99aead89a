//! Where events come out: the log's reading end.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Offset, Partition, Positions, Result, Timestamp};

/// Yields a log's records, partition by partition.
///
/// A source is either a member of a *group*, whose members share the partitions out among themselves, or reads
/// in *broadcast* mode, where each reader is assigned all partitions.
///
/// # Contract
///
/// - The first event of a partition is [`Assigned`](SourceEvent::Assigned). Nothing else of it is yielded before
///   [`Assigned::resume`] has been answered, and then reading begins at the offset answered.
/// - The batches of a partition are contiguous: each begins (`from`) where the one before ended (`to`). Records
///   lie in `from..to`, in ascending order; offsets may be missing (holes), and the batch moves over them.
/// - After [`Revoked`](SourceEvent::Revoked) or [`Lost`](SourceEvent::Lost) nothing more of those partitions is
///   yielded until they are assigned again. A revoked partition is given to no other member before the guard
///   that came with it is dropped.
/// - A log that no longer holds the offset to resume at is reported as [`Gap`](SourceEvent::Gap), once, and
///   nothing of the partition follows until it is assigned again. Records are never silently passed over.
/// - Nothing of a [paused](EventSource::pause) partition is yielded until it is resumed.
///
/// # Cancellation
///
/// `next` is cancel-safe: if its future is dropped, no event is lost.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) errors pass; call `next` again after a while. Any other ends the
/// source.
#[async_trait]
pub trait EventSource: Send {
    /// The next event; waits for one.
    async fn next(&mut self) -> Result<SourceEvent>;

    /// Yields nothing more of `partition` until [`resume`](EventSource::resume). Without effect on a partition
    /// that is not assigned.
    fn pause(&mut self, partition: Partition);

    /// Undoes [`pause`](EventSource::pause).
    fn resume(&mut self, partition: Partition);

    /// The next offset to be written of every partition of the log, as of now.
    async fn ends(&mut self) -> Result<Positions>;

    /// Whether `partition` is still ours, asked after a fresh heartbeat.
    async fn still_held(&mut self, partition: Partition) -> Result<bool>;
}

/// An event of a source.
///
/// The enum is exhaustive on purpose: a reader that ignored a new kind of event would lose records,
/// so a new kind has to be a compile error.
#[derive(Debug)]
pub enum SourceEvent {
    /// A partition is ours; say where to go on.
    Assigned(Assigned),
    /// Records of one partition.
    Batch(Batch),
    /// Partitions are taken away in good order: finish with them, then drop the guard.
    Revoked(Revoked),
    /// Partitions were taken away already; another may be working on them. Stop at once.
    Lost(Vec<Partition>),
    /// A partition cannot be read from where it is to be resumed.
    Gap(Gap),
}

/// A partition given to this reader. Dropped without an answer, the partition is not read.
#[derive(Debug)]
pub struct Assigned {
    /// The partition.
    pub partition: Partition,
    /// The log's incarnation: another one when the log was made anew.
    pub log: u128,
    reply: oneshot::Sender<Resume>,
}

/// Where to go on, and what should lie just before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resume {
    /// The next offset to read.
    pub offset: Offset,
    /// The incarnation that the offset belongs to, when the reader knows one.
    pub log: Option<u128>,
    /// The last record read, for the source to compare with what it holds there.
    pub last: Option<RecordMark>,
}

impl Assigned {
    /// An assignment, and where its answer arrives. For implementors of sources.
    pub fn new(partition: Partition, log: u128) -> (Self, oneshot::Receiver<Resume>) {
        let (reply, answer) = oneshot::channel();
        (Assigned { partition, log, reply }, answer)
    }

    /// Reading is to go on from `resume`.
    pub fn resume(self, resume: Resume) {
        // The source may be gone already; then nothing is to be resumed.
        let _ = self.reply.send(resume);
    }
}

/// Records of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The partition.
    pub partition: Partition,
    /// Where the batch begins; equals the `to` of the one before.
    pub from: Offset,
    /// The next offset after it.
    pub to: Offset,
    /// Whether the log held nothing more of the partition when this was read.
    pub at_end: bool,
    /// The records, by ascending offset.
    pub records: Vec<Record>,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: Offset,
    /// When the log (or its producer) took it in.
    pub time: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its bytes; empty for a tombstone.
    pub value: Bytes,
}

/// What is remembered of a record to recognise it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMark {
    /// Its offset.
    pub offset: Offset,
    /// Its time in the log.
    pub time: Timestamp,
    /// The XXH3 hash of its value.
    pub hash: u64,
}

impl Record {
    /// What to recognise this record by.
    pub fn mark(&self) -> RecordMark {
        RecordMark { offset: self.offset, time: self.time, hash: xxh3_64(&self.value) }
    }
}

/// Partitions taken away in good order.
#[derive(Debug)]
pub struct Revoked {
    /// Which.
    pub partitions: Vec<Partition>,
    /// Held until this reader has finished with them.
    pub guard: RevokeGuard,
}

/// The source waits for this to be dropped before it gives the partitions away.
#[derive(Debug, Default)]
pub struct RevokeGuard(#[allow(dead_code, reason = "its drop is the signal")] Option<mpsc::Sender<()>>);

impl RevokeGuard {
    /// A guard, and a receiver that ends when the guard (and each clone of it) has been dropped.
    pub fn new() -> (Self, mpsc::Receiver<()>) {
        let (held, dropped) = mpsc::channel(1);
        (RevokeGuard(Some(held)), dropped)
    }
}

impl Clone for RevokeGuard {
    fn clone(&self) -> Self {
        RevokeGuard(self.0.clone())
    }
}

/// The log does not hold what is to be read next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} {}: to be read from offset {wanted}, the log holds {start}..{end}", self.reason.as_str())]
pub struct Gap {
    /// The partition.
    pub partition: Partition,
    /// The offset to resume at.
    pub wanted: Offset,
    /// The first offset that the log holds.
    pub start: Offset,
    /// The next offset to be written.
    pub end: Offset,
    /// What happened to it.
    pub reason: GapReason,
}

/// What happened to a log that does not hold what is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// Records were dropped by age or size before they were read.
    Expired,
    /// The log ends before the offset.
    Truncated,
    /// The log is another one: its incarnation, or the record just before, differs.
    Recreated,
}

impl GapReason {
    /// The reason's stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Expired => "expired",
            GapReason::Truncated => "truncated",
            GapReason::Recreated => "recreated",
        }
    }
}

/// Compares where to resume with what the log holds. For implementors of sources.
///
/// `mark` is what the log holds at `resume.last`'s offset, if it still holds that record.
pub fn check_resume(
    partition: Partition,
    resume: &Resume,
    log: u128,
    held: std::ops::Range<Offset>,
    mark: Option<RecordMark>,
) -> Result<(), Gap> {
    let gap =
        |reason| Err(Gap { partition, wanted: resume.offset, start: held.start, end: held.end, reason });
    if resume.log.is_some_and(|known| known != log) {
        return gap(GapReason::Recreated);
    }
    if resume.offset > held.end {
        return gap(GapReason::Truncated);
    }
    if resume.offset < held.start {
        return gap(GapReason::Expired);
    }
    match (resume.last, mark) {
        (Some(known), Some(found)) if known != found => gap(GapReason::Recreated),
        _ => Ok(()),
    }
}

impl From<Gap> for Error {
    fn from(gap: Gap) -> Self {
        Error::gap(gap.to_string()).with_source(gap)
    }
}

/// Opens readers of one log, each in broadcast mode.
///
/// A closure that returns a future of a reader is an `OpenSource`:
///
/// ```
/// use feedkit_core::memory::MemoryLog;
/// use feedkit_core::source::OpenSource;
/// use feedkit_core::SystemClock;
///
/// let log = MemoryLog::new(4, SystemClock);
/// let open: Box<dyn OpenSource> = Box::new(move || {
///     let log = log.clone();
///     async move { Ok(log.broadcast()) }
/// });
/// ```
///
/// # Contract
///
/// Each reader is assigned all partitions. It starts each partition at the offset with which its
/// [`Assigned`] is answered.
#[async_trait]
pub trait OpenSource: Send + Sync + 'static {
    /// Opens a new reader.
    async fn open(&self) -> Result<Box<dyn EventSource>>;
}

#[async_trait]
impl<F, O, S> OpenSource for F
where
    F: Fn() -> O + Send + Sync + 'static,
    O: Future<Output = Result<S>> + Send,
    S: EventSource + 'static,
{
    async fn open(&self) -> Result<Box<dyn EventSource>> {
        Ok(Box::new(self().await?))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: EventSource + ?Sized> EventSource for Box<T> {
    async fn next(&mut self) -> Result<SourceEvent> {
        (**self).next().await
    }
    fn pause(&mut self, partition: Partition) {
        (**self).pause(partition);
    }
    fn resume(&mut self, partition: Partition) {
        (**self).resume(partition);
    }
    async fn ends(&mut self) -> Result<Positions> {
        (**self).ends().await
    }
    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        (**self).still_held(partition).await
    }
}
