//! What the suites of sinks and sources need from a log.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::sentence::Sentence;
use crate::memory::MemoryLog;
use crate::sink::NewRecord;
use crate::source::{Record, Resume, SourceEvent};
use crate::{EventSink, EventSource, Offset, Partition, SystemClock};

/// One new, empty log with several partitions. The suites write to it, read from it, and damage it.
///
/// A method returns `false` if the backend cannot do what the method asks for. The suites then skip
/// the sentences about it.
#[async_trait]
pub trait LogHarness: Send + Sync {
    /// The number of partitions of the log. There are at least two.
    fn partitions(&self) -> u32;

    /// The sink that writes to the log.
    fn sink(&self) -> &dyn EventSink;

    /// Creates a new member of a group.
    async fn member(&self, group: &str) -> Named;

    /// Creates a new broadcast reader.
    async fn broadcast(&self) -> Box<dyn EventSource>;

    /// How long a suite waits for an event before it concludes that no event will come.
    fn quiet(&self) -> Duration {
        Duration::from_millis(200)
    }

    /// A record that the sink never accepts.
    fn refused(&self) -> Option<NewRecord> {
        None
    }

    /// Closes the log and opens it again, as a restart of the process does.
    async fn reopen(&mut self) -> bool {
        false
    }

    /// Skips some offsets at the end of the partition.
    async fn skip(&self, partition: Partition) -> bool {
        let _ = partition;
        false
    }

    /// Drops the records before the offset.
    async fn expire_before(&self, partition: Partition, start: Offset) -> bool {
        let _ = (partition, start);
        false
    }

    /// Drops the records from the offset on.
    async fn truncate(&self, partition: Partition, to: Offset) -> bool {
        let _ = (partition, to);
        false
    }

    /// Creates the log again.
    async fn recreate(&self) -> bool {
        false
    }

    /// Removes the member with this name from its group, although it is running.
    async fn expel(&self, member: &str) -> bool {
        let _ = member;
        false
    }
}

/// A member of a group, with its name in the log.
pub struct Named {
    /// The name.
    pub name: String,
    /// The source that reads for the member.
    pub source: Box<dyn EventSource>,
}

/// A [`MemoryLog`] with three partitions.
pub struct MemoryLogHarness(MemoryLog);

impl MemoryLogHarness {
    /// Creates a new log with small batches.
    pub fn new() -> Self {
        MemoryLogHarness(MemoryLog::with_max_batch(3, SystemClock, 7))
    }

    /// The log.
    pub fn log(&self) -> &MemoryLog {
        &self.0
    }
}

impl Default for MemoryLogHarness {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LogHarness for MemoryLogHarness {
    fn partitions(&self) -> u32 {
        3
    }
    fn sink(&self) -> &dyn EventSink {
        &self.0
    }
    async fn member(&self, group: &str) -> Named {
        let source = self.0.reader(group);
        Named { name: source.member().to_string(), source: Box::new(source) }
    }
    async fn broadcast(&self) -> Box<dyn EventSource> {
        Box::new(self.0.broadcast())
    }
    async fn skip(&self, partition: Partition) -> bool {
        self.0.skip(partition, 3);
        true
    }
    async fn expire_before(&self, partition: Partition, start: Offset) -> bool {
        self.0.expire_before(partition, start);
        true
    }
    async fn truncate(&self, partition: Partition, to: Offset) -> bool {
        self.0.truncate(partition, to);
        true
    }
    async fn recreate(&self) -> bool {
        self.0.recreate();
        true
    }
    async fn expel(&self, member: &str) -> bool {
        self.0.expel(member.parse().expect("members are numbered"));
        true
    }
}

/// Finds a key for each partition of the log by trial.
pub(super) async fn keys(says: Sentence, log: &dyn LogHarness) -> Vec<String> {
    let mut found: BTreeMap<Partition, String> = BTreeMap::new();
    for i in 0..1000 {
        let key = format!("k{i}");
        let sent = send(says, log, &key, &["x"]).await;
        found.entry(sent[0].partition).or_insert(key);
        if found.len() as u32 == log.partitions() {
            return found.into_values().collect();
        }
    }
    says.broken(format_args!("a thousand keys reach only the partitions {:?}", found.keys()))
}

/// Sends values under one key. Returns their positions.
pub(super) async fn send(
    says: Sentence,
    log: &dyn LogHarness,
    key: &str,
    values: &[&str],
) -> Vec<crate::Position> {
    let batch = values.iter().map(|v| NewRecord::keyed(key, Bytes::copy_from_slice(v.as_bytes()))).collect();
    let outcomes = says.ends("send", log.sink().send(batch)).await;
    outcomes.into_iter().map(|outcome| says.ok("sending a record", outcome)).collect()
}

/// Reads all records of the log from its beginning.
pub(super) async fn read_all(says: Sentence, log: &dyn LogHarness) -> BTreeMap<Partition, Vec<Record>> {
    let mut source = log.broadcast().await;
    let ends = says.ok("ends", says.ends("ends", source.ends()).await);
    let mut read: BTreeMap<Partition, Vec<Record>> = BTreeMap::new();
    let mut at = crate::Positions::new();
    while !at.covers(&ends) {
        match says.ok("next", says.ends("reading everything back", source.next()).await) {
            SourceEvent::Assigned(assigned) => assigned.resume(Resume::default()),
            SourceEvent::Batch(batch) => {
                at.advance(batch.partition, batch.to);
                read.entry(batch.partition).or_default().extend(batch.records);
            }
            other => says.broken(format_args!("reading everything back gives {other:?}")),
        }
    }
    read
}
