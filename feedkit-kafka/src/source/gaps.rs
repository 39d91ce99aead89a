//! Gaps: the log does not hold what is to be read next.

use std::ops::Range;
use std::time::{Duration, Instant};

use feedkit_core::source::{Gap, GapReason};
use feedkit_core::{Offset, Partition};
use rdkafka::consumer::Consumer as _;

use super::consumer::{Consumer, place};
use super::stats::Counters;
use crate::probe::number;

impl Consumer {
    /// Stops a partition whose record before the position is not the one that was read.
    pub(super) fn is_another(&mut self, partition: Partition, offset: i64) {
        tracing::error!(partition = partition.0, offset, "the log holds another record than was read here");
        let held = self.probe.held(&[partition]).unwrap_or_default();
        self.stop_at_gap(partition, held.get(&partition).cloned(), GapReason::Recreated);
    }

    /// Stops a partition, and tells why. What the log holds is left out when it cannot be asked for.
    pub(super) fn stop_at_gap(&self, partition: Partition, held: Option<Range<Offset>>, reason: GapReason) {
        let mut inner = self.meeting.lock();
        if let Some(lane) = inner.lanes.get_mut(&partition) {
            Counters::one(&self.meeting.counters.gaps);
            let Range { start, end } = held.unwrap_or(0..0);
            lane.stop(Some(Gap { partition, wanted: lane.next, start, end, reason }));
        }
        drop(inner);
        self.meeting.tell();
        if self.read.contains(&partition) {
            // Giving it up would answer a wish of the group that is still open.
            self.pause(partition);
        }
    }
    fn read_again(&self, partition: Partition, next: u64) -> bool {
        let sought = self.client.seek(&self.topic, number(partition), place(next), Duration::from_secs(1));
        if let Err(error) = &sought {
            tracing::debug!(partition = partition.0, %error, "reading once more from {next} failed");
        }
        sought.is_ok()
    }

    /// Some partition's position is not held by the log; librdkafka does not tell which.
    pub(super) fn look_for_gaps(&mut self) {
        if !self.out_of_range || Instant::now() < self.ask_again {
            return;
        }
        let inner = self.meeting.lock();
        let reading = inner.lanes.iter().filter(|(_, lane)| lane.is_reading());
        let reading: Vec<_> = reading.map(|(partition, lane)| (*partition, lane.next)).collect();
        drop(inner);
        let partitions: Vec<_> = reading.iter().map(|(partition, _)| *partition).collect();
        let held = match self.probe.held(&partitions) {
            Ok(held) => held,
            Err(error) => return self.cannot_ask(error),
        };
        self.out_of_range = false;
        for (partition, next) in reading {
            let Some(held) = held.get(&partition).cloned() else { continue };
            if next < held.start {
                self.stop_at_gap(partition, Some(held), GapReason::Expired);
            } else if next > held.end {
                self.stop_at_gap(partition, Some(held), GapReason::Truncated);
            } else {
                // The one compared with has expired since, or this was not the partition meant, or the broker has
                // forgotten how far an earlier leader had come.
                if let Some(lane) = self.meeting.lock().lanes.get_mut(&partition) {
                    lane.expected = None;
                }
                self.out_of_range |= !self.read_again(partition, next);
            }
        }
    }

    /// What librdkafka reads from here on is of the topic with this id: not what was to be read, unless it is the one
    /// that partitions were assigned from.
    pub(super) fn is_now(&mut self, id: &str) {
        let log = match self.probe.incarnation_of(id) {
            Ok(log) => log,
            Err(error) => return self.cannot_ask(error),
        };
        let mut inner = self.meeting.lock();
        let mut reading = Vec::new();
        for (partition, lane) in inner.lanes.iter_mut().filter(|(_, lane)| lane.log != log) {
            lane.gone = true;
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
