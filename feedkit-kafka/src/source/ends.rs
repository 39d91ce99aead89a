//! What lies between a lane's records and the log's end: nothing, or holes.

use std::time::{Duration, Instant};

use feedkit_core::Partition;

use super::consumer::Consumer;
use crate::probe::PATIENCE;

/// Ends are asked for at most so often; records that come in between wait for it.
const MEASURE: Duration = Duration::from_millis(4);

/// How long an answer about partitions that are held back may keep the others waiting.
const HELD_BACK: Duration = Duration::from_millis(200);

impl Consumer {
    /// Whether something waits to be compared with the end.
    pub(super) fn unmeasured(&self) -> bool {
        self.meeting.lock().lanes.values().any(|lane| lane.is_reading() && lane.unmeasured)
    }

    /// Nothing more has come for now: what has come is compared with the end, and handed over.
    ///
    /// Who reads wants to know at once whether a batch is the last for now, so it waits for the answer: a fraction
    /// of a millisecond, on a connection of its own.
    pub(super) fn drained(&mut self) {
        let waited = self.measured.elapsed();
        let inner = self.meeting.lock();
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
        let mut inner = self.meeting.lock();
        for partition in partitions {
            let Some(lane) = inner.lanes.get_mut(partition) else { continue };
            lane.unmeasured = false;
            lane.ready = true;
            // Where the brokers do not say, it is not known to be the end.
            lane.at_end = ends.as_ref().is_ok_and(|ends| ends.of(*partition) == lane.next);
        }
        drop(inner);
        if let Ok(ends) = ends {
            self.meeting.counters.measured(ends.iter());
        }
        self.meeting.tell();
    }

    /// What is held back is not fetched, so librdkafka does not learn where it ends: that is asked for, as often as
    /// statistics are made.
    pub(super) fn measure_held_back(&mut self) {
        let interval = self.options.statistics_interval;
        if interval.is_zero() || self.held_measured.elapsed() < interval {
            return;
        }
        let held: Vec<_> = self.meeting.lock().held_back().collect();
        if held.is_empty() {
            return;
        }
        match self.probe.ends(&held, HELD_BACK) {
            Ok(ends) => self.meeting.counters.measured(ends.iter()),
            Err(error) => tracing::debug!(%error, "where partitions end that are held back is not known"),
        }
        self.held_measured = Instant::now();
    }

    /// librdkafka has read the partition up to `end`, and found no more. Control records, and records of
    /// transactions that were given up, are not told of: only this shows that they were there.
    pub(super) fn stands(&self, partition: i32, end: Option<u64>) {
        let (Ok(partition), Some(end)) = (u32::try_from(partition).map(Partition), end) else { return };
        if let Some(lane) = self.meeting.lock().lanes.get_mut(&partition)
            && lane.is_reading()
        {
            lane.skip_to(end);
        }
    }
}
