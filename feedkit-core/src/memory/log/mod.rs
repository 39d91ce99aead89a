//! A log in memory, with partitions, groups of readers, and simulated faults.

mod group;
mod partition;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::{Wake, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::sink::NewRecord;
use crate::source::Record;
use crate::{Clock, EventSink, Offset, Partition, Position, Positions, Result, Timestamp};

use group::{Group, GroupName};
use partition::PartitionLog;
pub use reader::MemoryReader;

/// Maximum number of records per batch by default.
const MAX_BATCH: usize = 20_000;

/// A log in memory. All clones are the same log.
///
/// Nothing is durable, and nothing expires by itself. Methods simulate what can happen to a real
/// log: [`skip`](Self::skip), [`truncate`](Self::truncate), [`expire_before`](Self::expire_before),
/// [`recreate`](Self::recreate), [`grow`](Self::grow) and [`expel`](Self::expel).
///
/// ```
/// use feedkit_core::memory::MemoryLog;
/// use feedkit_core::sink::NewRecord;
/// use feedkit_core::{EventSink, SystemClock};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let log = MemoryLog::new(4, SystemClock);
/// let line = r#"{"userId":"u1","postId":"p9","type":"like"}"#;
/// let outcomes = log.send(vec![NewRecord::keyed("u1", line.into())]).await;
/// assert_eq!(outcomes[0].as_ref().map(|p| p.offset).ok(), Some(1));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>);

struct Shared {
    clock: Box<dyn Clock>,
    changed: Arc<Changed>,
    max_batch: usize,
    state: Mutex<State>,
}

struct State {
    incarnation: u128,
    partitions: Vec<PartitionLog>,
    /// The partition of the next record without a key.
    turn: usize,
    groups: HashMap<GroupName, Group>,
    /// The name of the next member.
    next_member: u64,
}

/// Wakes all readers. As a [`Waker`] it is also woken when a guard is dropped and when an
/// assignment is answered.
#[derive(Default)]
struct Changed(Notify);

impl Wake for Changed {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }
}

impl MemoryLog {
    /// Creates an empty log with `partitions` partitions, at least one. `clock` gives the time of
    /// the records.
    pub fn new(partitions: u32, clock: impl Clock) -> Self {
        Self::with_max_batch(partitions, clock, MAX_BATCH)
    }

    /// Creates a log whose readers get at most `max_batch` records at once, at least one.
    pub fn with_max_batch(partitions: u32, clock: impl Clock, max_batch: usize) -> Self {
        let state = State {
            incarnation: Uuid::now_v7().as_u128(),
            partitions: (0..partitions.max(1)).map(|_| PartitionLog::default()).collect(),
            turn: 0,
            groups: HashMap::new(),
            next_member: 1,
        };
        MemoryLog(Arc::new(Shared {
            clock: Box::new(clock),
            changed: Arc::default(),
            max_batch: max_batch.max(1),
            state: Mutex::new(state),
        }))
    }

    /// Adds a reader to `group`. The members of the group share the partitions. A reader leaves
    /// when it is dropped.
    pub fn reader(&self, group: &str) -> MemoryReader {
        MemoryReader::join(self.clone(), |_| GroupName::Shared(group.to_owned()))
    }

    /// Creates a reader that is assigned all partitions, independently of other readers.
    pub fn broadcast(&self) -> MemoryReader {
        MemoryReader::join(self.clone(), GroupName::Own)
    }

    /// The positions from which to read the records written at `time` or later.
    pub fn positions_at(&self, time: Timestamp) -> Positions {
        let state = self.state();
        numbered(&state.partitions).map(|(p, log)| (p, log.first_since(time))).collect()
    }

    /// The current end of each partition: the offset of the next record to be written.
    pub fn ends(&self) -> Positions {
        let state = self.state();
        numbered(&state.partitions).map(|(p, log)| (p, log.end)).collect()
    }

    /// The log's incarnation.
    pub fn incarnation(&self) -> u128 {
        self.state().incarnation
    }

    /// All records of a partition.
    pub fn records(&self, partition: Partition) -> Vec<Record> {
        let state = self.state();
        state
            .partitions
            .get(partition.0 as usize)
            .map(|p| p.records.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The partition of the records with this key.
    pub fn partition_of(&self, key: &[u8]) -> Partition {
        partition_of(key, self.state().partitions.len())
    }

    /// Appends a record with a given time to a partition, and returns its offset. For tests.
    pub fn append(&self, partition: Partition, time: Timestamp, key: Option<Bytes>, value: Bytes) -> Offset {
        self.change(partition, |log| log.append(time, key, value))
    }

    /// Skips the next `count` offsets of a partition, as control records do. For tests.
    pub fn skip(&self, partition: Partition, count: u64) {
        self.change(partition, |log| log.end += count);
    }

    /// Drops the records of a partition from offset `to` on. New records start at this offset. For
    /// tests.
    pub fn truncate(&self, partition: Partition, to: Offset) {
        self.change(partition, |log| log.truncate(to));
    }

    /// Drops the records of a partition before offset `start`. For tests.
    pub fn expire_before(&self, partition: Partition, start: Offset) {
        self.change(partition, |log| log.expire_before(start));
    }

    /// Creates the log again: empty, and with another incarnation. For tests.
    pub fn recreate(&self) {
        let mut state = self.state();
        state.incarnation = Uuid::now_v7().as_u128();
        state.partitions.iter_mut().for_each(|p| *p = PartitionLog::default());
        drop(state);
        self.0.changed.0.notify_waiters();
    }

    /// Increases the number of partitions. Keys move to other partitions, as in other logs that
    /// grow. For tests.
    pub fn grow(&self, partitions: u32) {
        let mut state = self.state();
        let count = state.partitions.len().max(partitions as usize);
        state.partitions.resize_with(count, PartitionLog::default);
        state.groups.values_mut().for_each(|g| g.share_out(count));
        drop(state);
        self.0.changed.0.notify_waiters();
    }

    /// Declares a [member](MemoryReader::member) dead, as a broker does after missing its
    /// heartbeats. Other members get its partitions at once. The member learns that it has lost
    /// them, and joins again. For tests.
    pub fn expel(&self, member: u64) {
        let mut state = self.state();
        state.groups.values_mut().for_each(|g| g.expel(member));
        drop(state);
        self.0.changed.0.notify_waiters();
    }

    fn change<T>(&self, partition: Partition, change: impl FnOnce(&mut PartitionLog) -> T) -> T {
        let mut state = self.state();
        let count = state.partitions.len();
        let log = state.partitions.get_mut(partition.0 as usize);
        let result = change(log.unwrap_or_else(|| {
            panic!("partition {partition} does not exist; the log has {count} partitions")
        }));
        drop(state);
        self.0.changed.0.notify_waiters();
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave a partial change behind.
        self.0.state.lock()
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.0.changed).into()
    }
}

#[async_trait]
impl EventSink for MemoryLog {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        if batch.is_empty() {
            return Vec::new();
        }
        let mut state = self.state();
        let state = &mut *state;
        let mut outcomes = Vec::with_capacity(batch.len());
        for NewRecord { key, value } in batch {
            let partition = match &key {
                Some(key) => partition_of(key, state.partitions.len()),
                None => {
                    state.turn = (state.turn + 1) % state.partitions.len();
                    Partition(state.turn as u32)
                }
            };
            let offset = state.partitions[partition.0 as usize].append(self.0.clock.now(), key, value);
            outcomes.push(Ok(Position { partition, offset: offset + 1 }));
        }
        self.0.changed.0.notify_waiters();
        outcomes
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

fn partition_of(key: &[u8], partitions: usize) -> Partition {
    Partition((xxh3_64(key) % partitions as u64) as u32)
}

fn numbered(partitions: &[PartitionLog]) -> impl Iterator<Item = (Partition, &PartitionLog)> {
    (0..).map(Partition).zip(partitions)
}
