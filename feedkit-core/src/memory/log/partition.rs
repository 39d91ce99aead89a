//! One partition of the log in memory.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::source::{Record, RecordMark};
use crate::{Offset, Timestamp};

/// The records of one partition.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    /// The first offset in the log.
    pub(super) start: Offset,
    /// The next offset to be written.
    pub(super) end: Offset,
    /// The records in ascending order of their offsets. There may be holes.
    pub(super) records: VecDeque<Record>,
}

impl PartitionLog {
    pub(super) fn append(&mut self, time: Timestamp, key: Option<Bytes>, value: Bytes) -> Offset {
        let offset = self.end;
        self.records.push_back(Record { offset, time, key, value });
        self.end += 1;
        offset
    }

    pub(super) fn truncate(&mut self, to: Offset) {
        self.records.truncate(self.place_of(to));
        self.end = self.end.min(to);
        self.start = self.start.min(to);
    }

    pub(super) fn expire_before(&mut self, start: Offset) {
        let start = start.min(self.end);
        self.records.drain(..self.place_of(start));
        self.start = self.start.max(start);
    }

    /// The first offset of a record with this time or a later one, or the end if there is none.
    pub(super) fn first_since(&self, time: Timestamp) -> Offset {
        self.records.iter().find(|r| r.time >= time).map_or(self.end, |r| r.offset)
    }

    /// The mark of the record at `offset`, if the log holds it.
    pub(super) fn mark(&self, offset: Offset) -> Option<RecordMark> {
        self.records.get(self.place_of(offset)).filter(|r| r.offset == offset).map(Record::mark)
    }

    /// Returns at most `limit` records from offset `from` on, and the offset after them. The offset
    /// after the last record lies behind the holes that follow it.
    pub(super) fn read(&self, from: Offset, limit: usize) -> (Vec<Record>, Offset) {
        let place = self.place_of(from);
        let records: Vec<_> = self.records.iter().skip(place).take(limit).cloned().collect();
        let to = match records.last() {
            Some(last) if place + records.len() < self.records.len() => last.offset + 1,
            _ => self.end,
        };
        (records, to)
    }

    fn place_of(&self, offset: Offset) -> usize {
        self.records.partition_point(|r| r.offset < offset)
    }
}
