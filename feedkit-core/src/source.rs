//! Reading a log: the contract [`EventSource`].

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Offset, Partition, Positions, Result, Timestamp};

/// Reads the records of a log, partition by partition.
///
/// A source is either a member of a *group* or a *broadcast* reader. The members of a group share
/// the partitions among themselves. Each broadcast reader is assigned all partitions.
///
/// # Contract
///
/// - The first event of a partition is [`Assigned`](SourceEvent::Assigned). The source yields
///   nothing else of the partition until the reader has answered with [`Assigned::resume`]. Reading
///   then starts at the offset of the answer.
/// - The batches of a partition are contiguous: each begins (`from`) where the previous one ended
///   (`to`). The records lie in `from..to`, in ascending order. Offsets may be missing, and the
///   batch skips such holes.
/// - After [`Revoked`](SourceEvent::Revoked) or [`Lost`](SourceEvent::Lost) the source yields
///   nothing more of those partitions until they are assigned again. No other member gets a revoked
///   partition before the guard of the revocation is dropped.
/// - If the log no longer holds the offset to resume from, the source yields a
///   [`Gap`](SourceEvent::Gap) once. Nothing of the partition follows until it is assigned again.
///   The source never skips records silently.
/// - The source yields nothing of a [paused](EventSource::pause) partition until it is resumed.
///
/// # Cancellation
///
/// `next` is cancel-safe: if its future is dropped, no event is lost.
///
/// # Errors
///
/// A [`Retriable`](crate::ErrorKind::Retriable) error may pass: call `next` again later. Any other
/// error ends the source.
#[async_trait]
pub trait EventSource: Send {
    /// Waits for the next event.
    async fn next(&mut self) -> Result<SourceEvent>;

    /// Yields nothing more of `partition` until [`resume`](EventSource::resume). This has no effect
    /// on a partition that is not assigned.
    fn pause(&mut self, partition: Partition);

    /// Yields records of `partition` again after [`pause`](EventSource::pause).
    fn resume(&mut self, partition: Partition);

    /// The current end of every partition of the log: the offset of the next record to be written.
    async fn ends(&mut self) -> Result<Positions>;

    /// Whether `partition` is still assigned to this reader. The source sends a heartbeat before it
    /// answers.
    async fn still_held(&mut self, partition: Partition) -> Result<bool>;
}

/// An event of a source.
///
/// This enum is exhaustive on purpose. A reader that ignored a new kind of event would lose
/// records, so a new kind must be a compile error.
#[derive(Debug)]
pub enum SourceEvent {
    /// A partition is assigned to this reader, which must answer where to resume.
    Assigned(Assigned),
    /// Records of one partition.
    Batch(Batch),
    /// Partitions are about to be taken away. Finish the work on them, then drop the guard.
    Revoked(Revoked),
    /// Partitions have been taken away. Another reader may already work on them, so stop at once.
    Lost(Vec<Partition>),
    /// A partition cannot be read from the offset to resume from.
    Gap(Gap),
}

/// A partition assigned to this reader. If it is dropped without an answer, the source does not
/// read the partition.
#[derive(Debug)]
pub struct Assigned {
    /// The partition.
    pub partition: Partition,
    /// The log's incarnation: another one when the log was made anew.
    pub log: u128,
    reply: oneshot::Sender<Resume>,
}

/// Where to resume a partition, and what the log should hold just before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resume {
    /// The next offset to read.
    pub offset: Offset,
    /// The incarnation of the log that the offset belongs to, if the reader knows it.
    pub log: Option<u128>,
    /// The last record that was read. The source compares it with the record that the log holds
    /// there.
    pub last: Option<RecordMark>,
}

impl Assigned {
    /// Creates an assignment and a receiver for its answer. For implementors of sources.
    pub fn new(partition: Partition, log: u128) -> (Self, oneshot::Receiver<Resume>) {
        let (reply, answer) = oneshot::channel();
        (Assigned { partition, log, reply }, answer)
    }

    /// Answers that reading resumes from `resume`.
    pub fn resume(self, resume: Resume) {
        // If the source is already gone, there is nothing to resume.
        let _ = self.reply.send(resume);
    }
}

/// Records of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The partition.
    pub partition: Partition,
    /// Where the batch begins: the `to` of the previous batch.
    pub from: Offset,
    /// Where the batch ends: the next offset after it.
    pub to: Offset,
    /// Whether the log held no further records of the partition when this batch was read.
    pub at_end: bool,
    /// The records, in ascending order of their offsets.
    pub records: Vec<Record>,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: Offset,
    /// When the log received it, or when its producer created it.
    pub time: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its bytes. They are empty for a tombstone.
    pub value: Bytes,
}

/// The offset, time and hash of a record, to recognize it later.
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
    /// The mark of this record.
    pub fn mark(&self) -> RecordMark {
        RecordMark { offset: self.offset, time: self.time, hash: xxh3_64(&self.value) }
    }
}

/// Partitions that are about to be taken away.
#[derive(Debug)]
pub struct Revoked {
    /// The partitions.
    pub partitions: Vec<Partition>,
    /// The reader holds it until it has finished with the partitions.
    pub guard: RevokeGuard,
}

/// Delays a revocation: the source waits until the guard is dropped before it gives the partitions
/// away.
#[derive(Debug, Default)]
pub struct RevokeGuard(#[allow(dead_code, reason = "its drop is the signal")] Option<mpsc::Sender<()>>);

impl RevokeGuard {
    /// Creates a guard and a receiver. The receiver ends when the guard and all its clones have
    /// been dropped.
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

/// The log does not hold the records that are to be read next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} {}: reading should resume at offset {wanted}, but the log holds {start}..{end}", self.reason.as_str())]
pub struct Gap {
    /// The partition.
    pub partition: Partition,
    /// The offset to resume from.
    pub wanted: Offset,
    /// The first offset in the log.
    pub start: Offset,
    /// The end of the log: the next offset to be written.
    pub end: Offset,
    /// What happened to the log.
    pub reason: GapReason,
}

/// What happened to a log that does not hold the records to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// Retention by age or size dropped records before they were read.
    Expired,
    /// The log ends before the offset to resume from.
    Truncated,
    /// The log was created again: its incarnation differs, or the record just before the offset.
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
/// `mark` is the mark of the record at the offset of `resume.last`, if the log still holds it.
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

/// Opens broadcast readers of one log.
///
/// A closure that returns the future of a reader is an `OpenSource`:
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
