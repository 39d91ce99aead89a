//! The form of records in the log: one row holds the records that were appended to a partition
//! together.

use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::Record;
use feedkit_core::{Error, Offset, Result, Timestamp};

/// The encoded records of one row. The first record has the row's offset, which it gets later.
#[derive(Debug)]
pub(crate) struct RecordBatch {
    /// The number of records.
    pub(crate) count: u32,
    /// Version, flags, and the body; see [`Encoder`].
    pub(crate) data: Vec<u8>,
}

const VERSION: u8 = 1;
const LZ4: u8 = 1;
/// Minimum size of a body that is compressed.
const COMPRESS_FROM: usize = 1024;
/// Maximum number of records in a row.
const MAX_RECORDS: u32 = 4096;
/// How many bytes a row may have before it takes no more records.
const MAX_BYTES: usize = 1 << 20;
/// Maximum size of a body. A row that claims more was not written by feedkit.
const MAX_BODY: usize = 1 << 30;

/// Encodes records into rows.
///
/// A row consists of a version, flags, the body's length as a varint (if LZ4 compresses the body),
/// and the body. For each record, the body holds its time in milliseconds, as the difference from
/// the record before; the length of its key plus one, or 0 without a key; the length of its value;
/// its key; and its value. Numbers are LEB128 varints, and times are also zigzag-encoded.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    full: Vec<RecordBatch>,
    open: RecordBatch,
    previous: i64,
}

impl Default for RecordBatch {
    fn default() -> Self {
        RecordBatch { count: 0, data: vec![VERSION, 0] }
    }
}

impl Encoder {
    /// Adds a record that is appended at `time`.
    pub(crate) fn push(&mut self, record: &NewRecord, time: Timestamp) {
        let key = record.key.as_deref();
        let size = key.map_or(0, <[u8]>::len) + record.value.len();
        let full = self.open.count >= MAX_RECORDS || self.open.data.len() + size > MAX_BYTES;
        if full && self.open.count > 0 {
            self.close();
        }
        let data = &mut self.open.data;
        put_signed(data, time.as_millis().wrapping_sub(self.previous));
        put(data, key.map_or(0, |key| key.len() as u64 + 1));
        put(data, record.value.len() as u64);
        data.extend_from_slice(key.unwrap_or_default());
        data.extend_from_slice(&record.value);
        self.previous = time.as_millis();
        self.open.count += 1;
    }

    /// Returns the rows, in order.
    pub(crate) fn finish(mut self) -> Vec<RecordBatch> {
        if self.open.count > 0 {
            self.close();
        }
        self.full
    }

    fn close(&mut self) {
        let mut batch = std::mem::take(&mut self.open);
        batch.compress();
        self.full.push(batch);
        self.previous = 0;
    }
}

impl RecordBatch {
    fn compress(&mut self) {
        let body = &self.data[2..];
        if body.len() < COMPRESS_FROM {
            return;
        }
        let mut packed = vec![VERSION, LZ4];
        put(&mut packed, body.len() as u64);
        packed.extend_from_slice(&lz4_flex::block::compress(body));
        if packed.len() < self.data.len() {
            self.data = packed;
        }
    }
}

/// Adds the records of the row at `base` whose offsets are in `range` to `records`. Their keys and
/// values share the row's memory.
pub(crate) fn decode(
    base: Offset,
    count: u32,
    data: &[u8],
    range: std::ops::Range<Offset>,
    records: &mut Vec<Record>,
) -> Result<()> {
    decode_row(base, count, data, range, records)
        .map_err(|fault| Error::corrupt(format!("the log's row of offset {base} {fault}")))
}

fn decode_row(
    base: Offset,
    count: u32,
    data: &[u8],
    range: std::ops::Range<Offset>,
    records: &mut Vec<Record>,
) -> Result<(), &'static str> {
    let body = body(data)?;
    let mut input = Input { body: &body, at: 0 };
    let mut millis = 0i64;
    for offset in base..base.checked_add(u64::from(count)).ok_or("is damaged")? {
        millis = millis.wrapping_add(input.signed()?);
        let (key, value) = (input.length()?, input.length()?);
        let key = input.take(key.wrapping_sub(1), key > 0)?;
        let value = input.take(value, true)?.unwrap_or_default();
        if range.contains(&offset) {
            records.push(Record { offset, time: Timestamp::from_millis(millis), key, value });
        }
    }
    if input.at == body.len() { Ok(()) } else { Err("continues after its end") }
}

fn body(data: &[u8]) -> Result<Bytes, &'static str> {
    let [version, flags, body @ ..] = data else { return Err("is too short") };
    match (*version, *flags) {
        (VERSION, 0) => Ok(Bytes::copy_from_slice(body)),
        (VERSION, LZ4) => {
            let body = Bytes::copy_from_slice(body);
            let mut input = Input { body: &body, at: 0 };
            let size = input.length()?;
            let packed = &body[input.at..];
            // LZ4 compresses at most 255 to 1, which bounds the memory that a damaged size can ask
            // for.
            if size > MAX_BODY || size > packed.len().saturating_mul(256) {
                return Err("claims an impossible size");
            }
            lz4_flex::block::decompress(packed, size).map(Bytes::from).map_err(|_| "cannot be decompressed")
        }
        (VERSION, _) => Err("has flags that this program does not know"),
        _ => Err("is of a version that this program does not know"),
    }
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, ((n << 1) ^ (n >> 63)) as u64);
}

struct Input<'a> {
    body: &'a Bytes,
    at: usize,
}

impl Input<'_> {
    fn number(&mut self) -> Result<u64, &'static str> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.body.get(self.at).ok_or("is cut short")?;
            self.at += 1;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if shift == 63 && byte > 1 { Err("is damaged") } else { Ok(n) };
            }
        }
        Err("is damaged")
    }

    fn signed(&mut self) -> Result<i64, &'static str> {
        let n = self.number()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    fn length(&mut self) -> Result<usize, &'static str> {
        usize::try_from(self.number()?).map_err(|_| "is damaged")
    }

    fn take(&mut self, len: usize, present: bool) -> Result<Option<Bytes>, &'static str> {
        if !present {
            return Ok(None);
        }
        let end = self.at.checked_add(len).filter(|end| *end <= self.body.len()).ok_or("is cut short")?;
        let bytes = self.body.slice(self.at..end);
        self.at = end;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(n: usize, value: usize) -> Vec<NewRecord> {
        (0..n)
            .map(|i| NewRecord {
                key: (i % 3 > 0)
                    .then(|| Bytes::from(if i % 3 == 1 { String::new() } else { format!("u{i}") })),
                value: Bytes::from(vec![i as u8; value]),
            })
            .collect()
    }

    fn encode(records: &[NewRecord]) -> Vec<RecordBatch> {
        let mut encoder = Encoder::default();
        for (i, record) in records.iter().enumerate() {
            // The clock may go back.
            encoder.push(record, Timestamp::from_millis(1_000 - i as i64 * 7));
        }
        encoder.finish()
    }

    #[test]
    fn decodes_what_it_encoded() {
        for (n, value) in [(1, 0), (1, 1), (3, 40), (5000, 9), (20, 100_000), (2, 3 << 20)] {
            let records = records(n, value);
            let rows = encode(&records);
            let (mut got, mut next) = (Vec::new(), 77);
            for row in &rows {
                decode(next, row.count, &row.data, 0..u64::MAX, &mut got).unwrap();
                next += u64::from(row.count);
            }
            assert_eq!(got.len(), n);
            for (i, (got, record)) in got.iter().zip(&records).enumerate() {
                assert_eq!(got.offset, 77 + i as u64);
                assert_eq!(got.time.as_millis(), 1_000 - i as i64 * 7);
                assert_eq!((&got.key, &got.value), (&record.key, &record.value));
            }
        }
        assert_eq!(encode(&records(5000, 9)).len(), 2);
        assert_eq!(encode(&records(25, 100_000)).len(), 3);
    }

    #[test]
    fn gives_the_range_asked_for() {
        let row = &encode(&records(10, 4))[0];
        let mut got = Vec::new();
        decode(100, row.count, &row.data, 103..105, &mut got).unwrap();
        assert_eq!(got.iter().map(|r| r.offset).collect::<Vec<_>>(), [103, 104]);
    }

    #[test]
    fn damage_is_an_error() {
        for row in [&encode(&records(4, 8))[0], &encode(&records(200, 8))[0]] {
            let read = |count: u32, data: &[u8]| decode(0, count, data, 0..u64::MAX, &mut Vec::new());
            assert!(read(row.count, &row.data).is_ok());
            for end in 0..row.data.len() {
                assert!(read(row.count, &row.data[..end]).is_err(), "cut at {end}");
            }
            assert!(read(row.count + 1, &row.data).is_err());
            assert!(read(row.count - 1, &row.data).is_err());
            let mut flipped = row.data.clone();
            for at in 0..flipped.len() {
                // Damage in a value may go unnoticed, but must not panic.
                flipped[at] ^= 0xff;
                let _ = read(row.count, &flipped);
                flipped[at] ^= 0xff;
            }
        }
    }
}
