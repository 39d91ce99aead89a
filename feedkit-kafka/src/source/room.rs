//! Back-pressure: what happens when a lane is full.

use std::time::{Duration, Instant};

use feedkit_core::Partition;
use parking_lot::MutexGuard;
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::Offset as Place;

use super::consumer::Consumer;
use super::lane::PATIENCE;
use super::shared::Inner;
use super::stats::Counters;

impl Consumer {
    /// Waits for the reader, then pauses the partition. Pausing comes second, because librdkafka
    /// then discards the records that it has fetched.
    pub(super) fn wait_for_room<'m>(
        &'m self,
        mut inner: MutexGuard<'m, Inner>,
        partition: Partition,
    ) -> MutexGuard<'m, Inner> {
        let (records, bytes) = (self.options.max_records, self.options.max_bytes);
        if let Some(lane) = inner.lanes.get_mut(&partition) {
            // Another record has arrived already.
            (lane.ready, lane.unmeasured, lane.at_end) = (true, false, false);
        }
        self.shared.wake_reader();
        let start = Instant::now();
        while !inner.closing
            && let Some(lane) = inner.lanes.get_mut(&partition)
            && lane.is_full(records, bytes)
        {
            let left = lane.patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                lane.patience /= 4;
                lane.held_back = true;
                Counters::one(&self.shared.counters.held_back);
                self.pause(partition);
                return inner;
            }
            self.shared.wait(&mut inner, left);
        }
        if let Some(lane) = inner.lanes.get_mut(&partition) {
            lane.patience = (lane.patience * 2 + Duration::from_millis(5)).min(PATIENCE);
        }
        inner
    }
    /// Resumes the partitions that were paused because their lanes were full, once half of a lane
    /// is free.
    pub(super) fn resume_lanes(&self) {
        let mut inner = self.shared.lock();
        let (records, bytes) = (self.options.max_records / 2, self.options.max_bytes / 2);
        let mut roomy = Vec::new();
        for (partition, lane) in &mut inner.lanes {
            if lane.held_back && !lane.is_full(records.max(1), bytes.max(1)) {
                lane.held_back = false;
                roomy.push(*partition);
            }
        }
        drop(inner);
        self.resume(&roomy);
    }

    pub(super) fn pause(&self, partition: Partition) {
        match self.client.pause(&self.list([(partition, Place::Invalid)])) {
            Ok(()) => drop(self.paused.borrow_mut().insert(partition)),
            Err(error) => tracing::debug!(partition = partition.0, %error, "could not pause a partition"),
        }
    }

    /// Resumes those of the partitions that are paused in librdkafka.
    pub(super) fn resume(&self, partitions: &[Partition]) {
        let mut paused = self.paused.borrow_mut();
        let resumed = self.list(partitions.iter().filter(|p| paused.remove(p)).map(|p| (*p, Place::Invalid)));
        if resumed.count() > 0
            && let Err(error) = self.client.resume(&resumed)
        {
            tracing::debug!(%error, "could not resume partitions");
        }
    }
}
