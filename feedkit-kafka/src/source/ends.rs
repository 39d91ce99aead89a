//! Whether a lane has reached the end of its partition.

use std::time::{Duration, Instant};

use feedkit_core::Partition;

use super::consumer::Consumer;
use crate::probe::PATIENCE;

/// How long to wait between two queries for ends. Records that arrive in between wait for the
/// second one.
const MEASURE: Duration = Duration::from_millis(4);

/// How long a query about paused partitions may delay the other partitions.
const HELD_BACK: Duration = Duration::from_millis(200);

impl Consumer {
    /// Whether some lane must be compared with the end of its partition.
    pub(super) fn unmeasured(&self) -> bool {
        self.shared.lock().lanes.values().any(|lane| lane.is_reading() && lane.unmeasured)
    }

    /// librdkafka has no more records for now: compares the lanes with the ends of their
    /// partitions, and hands them over.
    ///
    /// The reader wants to know at once whether a batch is the last one for now. So the thread
    /// waits for the answer: a fraction of a millisecond, on a connection of its own.
    pub(super) fn drained(&mut self) {
        let waited = self.measured.elapsed();
        let inner = self.shared.lock();
        let fresh = inner.lanes.iter().filter(|(_, lane)| lane.is_reading() && lane.unmeasured);
        let fresh: Vec<_> = fresh.map(|(partition, _)| *partition).collect();
        drop(inner);
        if fresh.is_empty() {
            return;
        }
        if waited < MEASURE {
            std::thread::sleep(Duration::from_micros(200));
            return;
        }
        self.measure(&fresh);
    }

    fn measure(&mut self, partitions: &[Partition]) {
        self.measured = Instant::now();
        let ends = self.probe.ends(partitions, PATIENCE);
        self.measured = self.measured.max(Instant::now());
        let mut inner = self.shared.lock();
        for partition in partitions {
            let Some(lane) = inner.lanes.get_mut(partition) else { continue };
            lane.unmeasured = false;
            lane.ready = true;
            // Without an answer of the brokers it is not known to be the end.
            lane.at_end = ends.as_ref().is_ok_and(|ends| ends.of(*partition) == lane.next);
        }
        drop(inner);
        if let Ok(ends) = ends {
            self.shared.counters.measured(ends.iter());
        }
        self.shared.wake_reader();
    }

    /// Queries the ends of paused partitions, as often as statistics are made. librdkafka does not
    /// fetch these, so it does not learn their ends.
    pub(super) fn measure_held_back(&mut self) {
        let interval = self.options.statistics_interval;
        if interval.is_zero() || self.held_measured.elapsed() < interval {
            return;
        }
        let held: Vec<_> = self.shared.lock().held_back().collect();
        if held.is_empty() {
            return;
        }
        match self.probe.ends(&held, HELD_BACK) {
            Ok(ends) => self.shared.counters.measured(ends.iter()),
            Err(error) => tracing::debug!(%error, "could not query the ends of paused partitions"),
        }
        self.held_measured = Instant::now();
    }

    /// librdkafka has read the partition up to `end`. It does not report control records or records
    /// of aborted transactions, so only this event shows that they were there.
    pub(super) fn reached_end(&self, partition: i32, end: Option<u64>) {
        let (Ok(partition), Some(end)) = (u32::try_from(partition).map(Partition), end) else { return };
        if let Some(lane) = self.shared.lock().lanes.get_mut(&partition)
            && lane.is_reading()
        {
            lane.skip_to(end);
        }
    }
}
