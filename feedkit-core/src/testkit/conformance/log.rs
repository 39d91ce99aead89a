//! What the suites of sinks and sources need of a log.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::sentence::Sentence;
use crate::memory::MemoryLog;
use crate::sink::NewRecord;
use crate::source::{Record, Resume, SourceEvent};
use crate::{EventSink, EventSource, Offset, Partition, SystemClock};

/// One fresh, empty log of several partitions, with its writing and reading ends, and what can be done to it.
///
/// What a backend cannot be made to do answers `false`; the sentences about it are then not tried.
#[async_trait]
pub trait LogHarness: Send + Sync {
    /// How many partitions the log has; at least two.
    fn partitions(&self) -> u32;

    /// The writing end.
    fn sink(&self) -> &dyn EventSink;

    /// A new member of a group.
    async fn member(&self, group: &str) -> Named;

    /// A new broadcast reader.
    async fn broadcast(&self) -> Box<dyn EventSource>;

    /// After so long without an event, none is held to be coming.
    fn quiet(&self) -> Duration {
        Duration::from_millis(200)
    }

    /// A record that the sink refuses for ever.
    fn refused(&self) -> Option<NewRecord> {
        None
    }

    /// Closes the log and opens it again, as after a restart of the process.
    async fn reopen(&mut self) -> bool {
        false
    }

    /// Leaves out some offsets at the partition's end.
    async fn skip(&self, partition: Partition) -> bool {
        let _ = partition;
        false
    }

    /// Drops what lies before the offset.
    async fn expire_before(&self, partition: Partition, start: Offset) -> bool {
        let _ = (partition, start);
        false
    }

    /// Drops what lies at or behind the offset.
    async fn truncate(&self, partition: Partition, to: Offset) -> bool {
        let _ = (partition, to);
        false
    }

    /// Makes the log anew.
    async fn recreate(&self) -> bool {
        false
    }

    /// Declares the member of this name dead, though it runs.
    async fn expel(&self, member: &str) -> bool {
        let _ = member;
        false
    }
}

/// A member of a group, with the name that the log knows it by.
pub struct Named {
    /// The name.
    pub name: String,
    /// The reading end.
    pub source: Box<dyn EventSource>,
}

/// A [`MemoryLog`] of three partitions.
pub struct MemoryLogHarness(MemoryLog);

impl MemoryLogHarness {
    /// A fresh log, whose batches are small.
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

/// Keys that go to each of the log's partitions, found by trying.
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
    says.broken(format_args!("a thousand keys reach only partitions {:?}", found.keys()))
}

/// Sends values under one key; where they lie.
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

/// All that the log holds, read from its beginning.
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
