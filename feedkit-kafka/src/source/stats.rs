//! What a source has done and where it stands, for metrics.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use feedkit_core::{Offset, Partition};
use parking_lot::Mutex;
use serde::Deserialize;

use super::meeting::Meeting;

/// A view of a source that is kept while the source itself is away in a pipeline.
#[derive(Debug, Clone)]
pub struct SourceHandle {
    pub(super) meeting: Arc<Meeting>,
}

/// What a source has done so far, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SourceStats {
    /// Records handed over.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Batches handed over.
    pub batches: u64,
    /// Gaps found.
    pub gaps: u64,
    /// How often partitions were given to this member or taken away.
    pub rebalances: u64,
    /// How often a partition was paused because nobody took what was read of it.
    pub held_back: u64,
    /// Errors that the brokers answered with, or that kept them from answering.
    pub errors: u64,
    /// Whether a broker was connected when statistics were last made; `true` before that.
    pub connected: bool,
    /// The partitions held.
    pub partitions: BTreeMap<Partition, PartitionStats>,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PartitionStats {
    /// The next offset to be handed over.
    pub next: Offset,
    /// The next offset to be written, when that was last measured.
    pub end: Option<Offset>,
    /// How many offsets lie between the two.
    pub lag: Option<u64>,
    /// Records read and not yet handed over.
    pub buffered: usize,
}

impl SourceHandle {
    /// What the source has done so far, and where it stands.
    pub fn stats(&self) -> SourceStats {
        let counters = &self.meeting.counters;
        let ends = counters.ends.lock().clone();
        let inner = self.meeting.lock();
        let reading = inner.lanes.iter().filter(|(_, lane)| lane.is_reading());
        let partitions = reading.map(|(partition, lane)| {
            // An end measured before the last batch was read says nothing.
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

    /// Takes in what librdkafka says of itself; the ends of partitions that are held back it does not know.
    pub(super) fn statistics(&self, json: &[u8], topic: &str, held_back: &BTreeSet<Partition>) {
        let said: Said = match serde_json::from_slice(json) {
            Ok(said) => said,
            Err(error) => {
                tracing::debug!(%error, "librdkafka's statistics cannot be read");
                return;
            }
        };
        self.disconnected.store(!said.brokers.values().any(|broker| broker.state == "UP"), Relaxed);
        let partitions = said.topics.get(topic).into_iter().flat_map(|topic| &topic.partitions);
        let ends = partitions.filter_map(|(name, partition)| {
            Some((Partition(name.parse().ok()?), Offset::try_from(partition.ls_offset).ok()?))
        });
        self.measured(ends.filter(|(partition, _)| !held_back.contains(partition)));
    }
}

#[derive(Deserialize)]
struct Said {
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
    partitions: HashMap<String, PartitionSaid>,
}

#[derive(Deserialize)]
struct PartitionSaid {
    /// The end for who reads committed.
    ls_offset: i64,
}
