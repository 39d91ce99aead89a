//! What lies between a lane's records and the log's end: nothing, holes, or a gap.

use std::time::{Duration, Instant};

use feedkit_core::Partition;
use feedkit_core::source::GapReason;
use rdkafka::consumer::Consumer as _;

use super::consumer::{Consumer, place};
use crate::probe::number;

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
        let ends = self.probe.ends(partitions);
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
        match self.probe.ends_within(&held, HELD_BACK) {
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
