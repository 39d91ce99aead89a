//! Counters and positions of a source, for metrics.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use feedkit_core::{Offset, Partition};
use parking_lot::Mutex;
use serde::Deserialize;

use super::shared::Shared;

/// A view of a source's state, which stays with the caller while a pipeline owns the source.
#[derive(Debug, Clone)]
pub struct SourceHandle {
    pub(super) shared: Arc<Shared>,
}

/// What a source has done so far, and the state of its partitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SourceStats {
    /// Records handed to the reader.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Batches handed over.
    pub batches: u64,
    /// Gaps found.
    pub gaps: u64,
    /// How often partitions were assigned to this member or revoked.
    pub rebalances: u64,
    /// How often a partition was paused because its buffer was full.
    pub held_back: u64,
    /// Errors of the brokers and of the connections to them.
    pub errors: u64,
    /// Whether a broker was connected when statistics were last made. It is `true` before the first
    /// time.
    pub connected: bool,
    /// The partitions that are assigned to this source.
    pub partitions: BTreeMap<Partition, PartitionStats>,
}

/// The state of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PartitionStats {
    /// The next offset to hand to the reader.
    pub next: Offset,
    /// The end of the partition, when it was last measured.
    pub end: Option<Offset>,
    /// The number of offsets between the two.
    pub lag: Option<u64>,
    /// Records that were read and not yet handed to the reader.
    pub buffered: usize,
}

impl SourceHandle {
    /// What the source has done so far, and the state of its partitions.
    pub fn stats(&self) -> SourceStats {
        let counters = &self.shared.counters;
        let ends = counters.ends.lock().clone();
        let inner = self.shared.lock();
        let reading = inner.lanes.iter().filter(|(_, lane)| lane.is_reading());
        let partitions = reading.map(|(partition, lane)| {
            // The end may have been measured before the last batch was read.
            let end = ends.get(partition).map(|end| (*end).max(lane.next));
            let lag = end.map(|end| end - lane.from);
            (*partition, PartitionStats { next: lane.from, end, lag, buffered: lane.len() })
        });
        SourceStats {
            records: counters.records.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            gaps: counters.gaps.load(Relaxed),
            rebalances: counters.rebalances.load(Relaxed),
            held_back: counters.held_back.load(Relaxed),
            errors: counters.errors.load(Relaxed),
            connected: !counters.disconnected.load(Relaxed),
            partitions: partitions.collect(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) rebalances: AtomicU64,
    pub(super) held_back: AtomicU64,
    pub(super) errors: AtomicU64,
    disconnected: AtomicBool,
    ends: Mutex<HashMap<Partition, Offset>>,
}

impl Counters {
    pub(super) fn taken(&self, (records, bytes): (u64, u64)) {
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.batches.fetch_add(1, Relaxed);
    }

    pub(super) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn measured(&self, found: impl Iterator<Item = (Partition, Offset)>) {
        self.ends.lock().extend(found);
    }

    /// Reads librdkafka's statistics. Their ends of paused partitions are out of date, so those are
    /// ignored.
    pub(super) fn statistics(&self, json: &[u8], topic: &str, held_back: &BTreeSet<Partition>) {
        let statistics: Statistics = match serde_json::from_slice(json) {
            Ok(statistics) => statistics,
            Err(error) => {
                tracing::debug!(%error, "could not read librdkafka's statistics");
                return;
            }
        };
        self.disconnected.store(!statistics.brokers.values().any(|broker| broker.state == "UP"), Relaxed);
        let partitions = statistics.topics.get(topic).into_iter().flat_map(|topic| &topic.partitions);
        let ends = partitions.filter_map(|(name, partition)| {
            Some((Partition(name.parse().ok()?), Offset::try_from(partition.ls_offset).ok()?))
        });
        self.measured(ends.filter(|(partition, _)| !held_back.contains(partition)));
    }
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    state: String,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    /// The end for consumers that read committed records only.
    ls_offset: i64,
}
