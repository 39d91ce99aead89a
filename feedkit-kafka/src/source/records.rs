//! Records as they lie in a lane: their bytes in one piece.

use bytes::Bytes;
use feedkit_core::source::{Batch, Record};
use feedkit_core::{Offset, Partition, Timestamp};

/// A batch whose records are still in one piece: they are told apart outside of the lock.
pub(super) struct Untied {
    pub(super) partition: Partition,
    pub(super) from: Offset,
    pub(super) to: Offset,
    pub(super) at_end: bool,
    pub(super) records: Records,
}

impl Untied {
    pub(super) fn count(&self) -> (u64, u64) {
        (self.records.len() as u64, self.records.bytes() as u64)
    }

    pub(super) fn into_batch(self) -> Batch {
        let Untied { partition, from, to, at_end, records } = self;
        Batch { partition, from, to, at_end, records: records.untie() }
    }
}

/// Records, their bytes in one piece.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    offset: Offset,
    time: Timestamp,
    /// Where the key begins, if there is one. It ends where the value begins.
    key: Option<usize>,
    value: usize,
    end: usize,
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes their keys and values have.
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

    /// The last record by itself, and its offset.
    pub(super) fn split_last(&mut self) -> Option<(Offset, Records)> {
        let mut entry = self.entries.pop()?;
        let start = entry.key.unwrap_or(entry.value);
        let bytes = self.bytes.split_off(start);
        entry.key = entry.key.map(|_| 0);
        (entry.value, entry.end) = (entry.value - start, entry.end - start);
        Some((entry.offset, Records { bytes, entries: vec![entry] }))
    }

    fn untie(self) -> Vec<Record> {
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
