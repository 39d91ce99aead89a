//! Gaps: the log does not have the record to read next.

use std::ops::Range;
use std::time::{Duration, Instant};

use feedkit_core::source::{Gap, GapReason};
use feedkit_core::{Offset, Partition};
use rdkafka::consumer::Consumer as _;

use super::consumer::{Consumer, place};
use super::stats::Counters;
use crate::probe::number;

impl Consumer {
    /// Stops a partition: the record before the position is not the one that was read before.
    pub(super) fn record_differs(&mut self, partition: Partition, offset: i64) {
        tracing::error!(
            partition = partition.0,
            offset,
            "a record in the log differs from the one that was read at this offset before"
        );
        let held = self.probe.held(&[partition]).unwrap_or_default();
        self.stop_at_gap(partition, held.get(&partition).cloned(), GapReason::Recreated);
    }

    /// Stops a partition, and reports why. `held` is the range of offsets in the log, if the
    /// brokers have answered.
    pub(super) fn stop_at_gap(&self, partition: Partition, held: Option<Range<Offset>>, reason: GapReason) {
        let mut inner = self.shared.lock();
        if let Some(lane) = inner.lanes.get_mut(&partition) {
            Counters::one(&self.shared.counters.gaps);
            let Range { start, end } = held.unwrap_or(0..0);
            lane.stop(Some(Gap { partition, wanted: lane.next, start, end, reason }));
        }
        drop(inner);
        self.shared.wake_reader();
        if self.read.contains(&partition) {
            // Giving up the partition would answer a rebalance that is still open.
            self.pause(partition);
        }
    }
    fn read_again(&self, partition: Partition, next: u64) -> bool {
        let sought = self.client.seek(&self.topic, number(partition), place(next), Duration::from_secs(1));
        if let Err(error) = &sought {
            tracing::debug!(partition = partition.0, %error, "could not seek back to offset {next}");
        }
        sought.is_ok()
    }

    /// Finds the partitions whose position is not in the log. librdkafka does not say which they
    /// are.
    pub(super) fn look_for_gaps(&mut self) {
        if !self.out_of_range || Instant::now() < self.query_again_at {
            return;
        }
        let inner = self.shared.lock();
        let reading = inner.lanes.iter().filter(|(_, lane)| lane.is_reading());
        let reading: Vec<_> = reading.map(|(partition, lane)| (*partition, lane.next)).collect();
        drop(inner);
        let partitions: Vec<_> = reading.iter().map(|(partition, _)| *partition).collect();
        let held = match self.probe.held(&partitions) {
            Ok(held) => held,
            Err(error) => return self.query_failed(error),
        };
        self.out_of_range = false;
        for (partition, next) in reading {
            let Some(held) = held.get(&partition).cloned() else { continue };
            if next < held.start {
                self.stop_at_gap(partition, Some(held), GapReason::Expired);
            } else if next > held.end {
                self.stop_at_gap(partition, Some(held), GapReason::Truncated);
            } else {
                // The record to compare with has expired since, or librdkafka meant another
                // partition, or a new leader does not know yet how far the earlier one had come.
                if let Some(lane) = self.shared.lock().lanes.get_mut(&partition) {
                    lane.expected = None;
                }
                self.out_of_range |= !self.read_again(partition, next);
            }
        }
    }

    /// librdkafka reads from the topic with this id from here on. Stops every partition that was
    /// assigned from another topic, which had the same name.
    pub(super) fn topic_id_is(&mut self, id: &str) {
        let log = match self.probe.incarnation_of(id) {
            Ok(log) => log,
            Err(error) => return self.query_failed(error),
        };
        let mut inner = self.shared.lock();
        let mut reading = Vec::new();
        for (partition, lane) in inner.lanes.iter_mut().filter(|(_, lane)| lane.log != log) {
            lane.log_replaced = true;
            if lane.is_reading() {
                reading.push(*partition);
            }
        }
        drop(inner);
        if reading.is_empty() {
            return;
        }
        let held = self.probe.held(&reading).unwrap_or_default();
        for partition in reading {
            self.stop_at_gap(partition, held.get(&partition).cloned(), GapReason::Recreated);
        }
    }
}
