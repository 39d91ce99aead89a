//! The buffer of one partition: records that were read and that the reader has not taken yet.

use std::time::Duration;

use feedkit_core::source::{Gap, RecordMark, Resume};
use feedkit_core::{Offset, Partition, Timestamp};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64;

use super::records::{Records, TakenRecords};

/// Maximum time that the consumer waits for a full lane before it pauses the partition.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// A partition that is assigned to us.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) phase: Phase,
    /// The incarnation of the log when the partition was assigned.
    pub(super) log: u128,
    /// The topic has been recreated since.
    pub(super) log_replaced: bool,
    /// The reader has received `Assigned`.
    pub(super) announced: bool,
    /// The reader has paused the partition.
    pub(super) paused: bool,
    /// The partition is paused in librdkafka, because the lane was full.
    pub(super) held_back: bool,
    /// How long the consumer waits when the lane is full. The time is shortened after a wait in
    /// vain, so that a slow partition does not delay the others again and again.
    pub(super) patience: Duration,
    /// The next offset that the reader takes.
    pub(super) from: Offset,
    /// The next offset to read from the log: where the records in the lane end.
    pub(super) next: Offset,
    records: Records,
    /// The reader may take the records in the lane.
    pub(super) ready: bool,
    /// `next` was the end of the log when the two were last compared.
    pub(super) at_end: bool,
    /// Records have arrived since the lane was last compared with the end of the log.
    pub(super) unmeasured: bool,
    /// The record that must be found at its offset.
    pub(super) expected: Option<RecordMark>,
    /// A gap. The reader receives it after the records before it.
    pub(super) gap: Option<Gap>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Assigned. The reader has not answered yet.
    Asked(oneshot::Receiver<Resume>),
    /// The reader has answered. The answer must be compared with the log.
    Answered(Resume),
    /// The partition is being read.
    Reading,
    /// The reader has given up the partition, or the partition has stopped at a gap.
    Stopped,
}

impl Lane {
    pub(super) fn new(log: u128, answer: oneshot::Receiver<Resume>) -> Self {
        Lane {
            phase: Phase::Asked(answer),
            log,
            log_replaced: false,
            announced: false,
            paused: false,
            held_back: false,
            patience: PATIENCE,
            from: 0,
            next: 0,
            records: Records::default(),
            ready: false,
            at_end: false,
            unmeasured: false,
            expected: None,
            gap: None,
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Reading)
    }

    /// Starts reading at `at`.
    pub(super) fn begin(&mut self, at: Offset, expected: Option<RecordMark>) {
        self.phase = Phase::Reading;
        (self.from, self.next) = (at, at);
        self.expected = expected;
    }

    /// Adds a record, unless its offset is before the next one to read.
    ///
    /// # Errors
    ///
    /// The record differs from the one expected at its offset.
    pub(super) fn push(
        &mut self,
        offset: Offset,
        time: Timestamp,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<(), ()> {
        if let Some(expected) = self.expected.take()
            && expected.offset == offset
            && (RecordMark { offset, time, hash: xxh3_64(value) }) != expected
        {
            return Err(());
        }
        if offset < self.next {
            return Ok(());
        }
        self.records.push(offset, time, key, value);
        self.next = offset + 1;
        (self.unmeasured, self.at_end) = (true, false);
        Ok(())
    }

    /// Everything up to `end` was read. The offsets without a record are control records or aborted
    /// ones.
    pub(super) fn skip_to(&mut self, end: Offset) {
        if end > self.next {
            self.next = end;
            self.unmeasured = true;
        }
    }

    /// Stops reading, at a gap if there is one.
    pub(super) fn stop(&mut self, gap: Option<Gap>) {
        self.phase = Phase::Stopped;
        self.gap = gap;
        self.ready = true;
        (self.expected, self.unmeasured) = (None, false);
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_full(&self, records: usize, bytes: usize) -> bool {
        self.records.len() >= records || self.records.bytes() >= bytes
    }

    /// Whether the reader can take something.
    pub(super) fn has_something(&self) -> bool {
        // The last record stays in the lane while it is not known whether it is the last one in the
        // log.
        let records = match self.unmeasured {
            true => self.len() > 1,
            false => self.next > self.from,
        };
        self.ready && !self.paused && self.announced && (records || self.gap.is_some())
    }

    /// Takes the records as a batch, or the gap if there are none.
    ///
    /// The last record stays in the lane while it is not known whether it is the last one in the
    /// log: the batch that says so must not be empty.
    pub(super) fn take(&mut self, partition: Partition) -> Option<Taken> {
        if !self.has_something() {
            return None;
        }
        if self.next == self.from {
            return self.gap.take().map(Taken::Gap);
        }
        let mut records = std::mem::take(&mut self.records);
        let mut to = self.next;
        if self.unmeasured
            && let Some((offset, last)) = records.split_last()
        {
            to = offset;
            self.records = last;
        }
        let from = std::mem::replace(&mut self.from, to);
        self.ready = self.gap.is_some();
        Some(Taken::Records(TakenRecords { partition, from, to, at_end: self.at_end, records }))
    }
}

pub(super) enum Taken {
    Records(TakenRecords),
    Gap(Gap),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        let mut lane = Lane::new(1, oneshot::channel().1);
        lane.announced = true;
        lane.begin(5, None);
        lane
    }

    fn push(lane: &mut Lane, offset: Offset, key: Option<&str>, value: &str) {
        let time = Timestamp::from_millis(offset as i64);
        lane.push(offset, time, key.map(str::as_bytes), value.as_bytes()).unwrap();
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut lane = lane();
        push(&mut lane, 3, None, "before");
        push(&mut lane, 5, Some("k"), "v");
        push(&mut lane, 8, None, "");
        push(&mut lane, 9, Some(""), "w");
        assert!(!lane.has_something());
        lane.ready = true;
        let Some(Taken::Records(taken)) = lane.take(Partition(2)) else { panic!("nothing was taken") };
        let batch = taken.into_batch();
        // The last record stays: more may follow.
        assert_eq!((batch.from, batch.to, batch.at_end, batch.records.len()), (5, 9, false, 2));
        (lane.ready, lane.at_end, lane.unmeasured) = (true, true, false);
        let mut records = batch.records;
        let Some(Taken::Records(taken)) = lane.take(Partition(2)) else { panic!("nothing was taken") };
        let batch = taken.into_batch();
        assert_eq!((batch.partition, batch.from, batch.to, batch.at_end), (Partition(2), 9, 10, true));
        records.extend(batch.records);
        let found: Vec<_> = records.iter().map(|r| (r.offset, r.key.as_deref(), &r.value[..])).collect();
        assert_eq!(found, [(5, Some(&b"k"[..]), &b"v"[..]), (8, None, b""), (9, Some(b""), b"w")]);
        assert!(lane.take(Partition(2)).is_none());
    }

    #[test]
    fn the_record_before_must_be_the_one_known() {
        let mark = RecordMark { offset: 4, time: Timestamp::from_millis(4), hash: xxh3_64(b"x") };
        for (offset, value, same) in [(4, "x", true), (4, "y", false), (5, "y", true)] {
            let mut lane = lane();
            lane.expected = Some(mark);
            let pushed = lane.push(offset, Timestamp::from_millis(4), None, value.as_bytes());
            assert_eq!(pushed.is_ok(), same, "{offset} {value}");
            assert_eq!(lane.len(), usize::from(offset == 5));
        }
    }

    #[test]
    fn a_gap_comes_after_what_was_read_before_it() {
        let mut lane = lane();
        push(&mut lane, 5, None, "a");
        let gap = Gap {
            partition: Partition(0),
            wanted: 6,
            start: 9,
            end: 12,
            reason: feedkit_core::source::GapReason::Expired,
        };
        lane.stop(Some(gap));
        assert!(matches!(lane.take(Partition(0)), Some(Taken::Records(_))));
        assert!(lane.has_something());
        assert!(matches!(lane.take(Partition(0)), Some(Taken::Gap(_))));
        assert!(!lane.has_something());
    }
}
