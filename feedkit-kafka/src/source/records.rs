//! The records in a lane, stored compactly.

use bytes::Bytes;
use feedkit_core::source::{Batch, Record};
use feedkit_core::{Offset, Partition, Timestamp};

/// A batch that was taken from a lane. Its records are separated later, outside of the lock.
pub(super) struct TakenRecords {
    pub(super) partition: Partition,
    pub(super) from: Offset,
    pub(super) to: Offset,
    pub(super) at_end: bool,
    pub(super) records: Records,
}

impl TakenRecords {
    pub(super) fn count(&self) -> (u64, u64) {
        (self.records.len() as u64, self.records.bytes() as u64)
    }

    pub(super) fn into_batch(self) -> Batch {
        let TakenRecords { partition, from, to, at_end, records } = self;
        Batch { partition, from, to, at_end, records: records.into_records() }
    }
}

/// Records. The bytes of all keys and values are in one buffer.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    offset: Offset,
    time: Timestamp,
    /// Where the key starts, if there is one. It ends where the value starts.
    key: Option<usize>,
    value: usize,
    end: usize,
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The size of all keys and values in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, offset: Offset, time: Timestamp, key: Option<&[u8]>, value: &[u8]) {
        let key = key.map(|key| {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(key);
            at
        });
        let at = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry { offset, time, key, value: at, end: self.bytes.len() });
    }

    /// Removes the last record. Returns its offset and the record.
    pub(super) fn split_last(&mut self) -> Option<(Offset, Records)> {
        let mut entry = self.entries.pop()?;
        let start = entry.key.unwrap_or(entry.value);
        let bytes = self.bytes.split_off(start);
        entry.key = entry.key.map(|_| 0);
        (entry.value, entry.end) = (entry.value - start, entry.end - start);
        Some((entry.offset, Records { bytes, entries: vec![entry] }))
    }

    fn into_records(self) -> Vec<Record> {
        let bytes = Bytes::from(self.bytes);
        let record = |entry: Entry| Record {
            offset: entry.offset,
            time: entry.time,
            key: entry.key.map(|key| bytes.slice(key..entry.value)),
            value: bytes.slice(entry.value..entry.end),
        };
        self.entries.into_iter().map(record).collect()
    }
}
