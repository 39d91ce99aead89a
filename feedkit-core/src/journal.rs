//! The entries of the journal, and their encoding as bytes.

use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::effect::Effect;
use crate::{Epoch, Error, EventKind, Offset, Partition, PostId, Result, Timestamp, UserId};

/// The changes of one commit. Each move of a position has exactly one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The partition.
    pub partition: Partition,
    /// Where the commit begins.
    pub from: Offset,
    /// The position after the commit.
    pub to: Offset,
    /// The epoch of the commit.
    pub epoch: Epoch,
    /// Whether the log held no further records of the partition at that time. A follower then need
    /// not wait for more.
    pub at_end: bool,
    /// The effects, in ascending order of their offsets, all within `from..to`.
    pub effects: Vec<Effect>,
}

/// The first byte of the encoded form.
const VERSION: u8 = 1;
const LZ4: u8 = 1;
const AT_END: u8 = 2;
/// The smallest body to compress, in bytes.
const COMPRESS_FROM: usize = 512;
/// Maximum size of a body. No entry of a commit is as large; a larger size is damage.
const MAX_BODY: usize = 1 << 30;

impl JournalEntry {
    /// Encodes the effects and the epoch of the entry.
    ///
    /// The form is: version, flags, counts, a table of names, and a row for each effect, as LEB128
    /// varints. A large body is compressed by LZ4. The partition, `from` and `to` are not included:
    /// they are the key under which a history stores the entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut names = Names::default();
        let mut rows = Vec::with_capacity(self.effects.len() * 8);
        let (mut offset, mut millis) = (self.from, 0i64);
        for effect in &self.effects {
            put(&mut rows, effect.offset - offset);
            put_signed(&mut rows, effect.time.as_millis().wrapping_sub(millis));
            put(
                &mut rows,
                kind_code(&effect.kind).unwrap_or_else(|| OTHER + names.index(effect.kind.as_str())),
            );
            put(&mut rows, names.index(effect.user.as_str()));
            put(&mut rows, names.index(effect.post.as_str()));
            (offset, millis) = (effect.offset, effect.time.as_millis());
        }
        let mut body = Vec::with_capacity(rows.len() + names.bytes.len() + 24);
        put(&mut body, self.epoch);
        put(&mut body, names.count);
        put(&mut body, self.effects.len() as u64);
        body.extend_from_slice(&names.bytes);
        body.extend_from_slice(&rows);

        let mut flags = if self.at_end { AT_END } else { 0 };
        let mut out = vec![VERSION, flags];
        if body.len() >= COMPRESS_FROM {
            flags |= LZ4;
            out[1] = flags;
            put(&mut out, body.len() as u64);
            out.extend_from_slice(&lz4_flex::block::compress(&body));
        } else {
            out.extend_from_slice(&body);
        }
        out
    }

    /// Decodes what [`encode`](Self::encode) has written. Bytes of another version, and bytes that
    /// are not an entry of this range, cause an error of kind
    /// [`Corrupt`](crate::ErrorKind::Corrupt).
    pub fn decode(partition: Partition, from: Offset, to: Offset, bytes: &[u8]) -> Result<Self> {
        decode(partition, from, to, bytes).map_err(|fault| {
            Error::corrupt(format!("journal entry of partition {partition}, offsets {from} to {to}: {fault}"))
        })
    }
}

/// The code of the first name in the table. Smaller codes are those of the standard kinds.
const OTHER: u64 = 4;

fn kind_code(kind: &EventKind) -> Option<u64> {
    Some(match kind {
        EventKind::Like => 0,
        EventKind::Unlike => 1,
        EventKind::Comment => 2,
        EventKind::Post => 3,
        EventKind::Other(_) => return None,
    })
}

/// The table of names. Each name is written once, and rows refer to it by its index.
#[derive(Default)]
struct Names<'a> {
    places: HashMap<&'a str, u64>,
    bytes: Vec<u8>,
    count: u64,
}

impl<'a> Names<'a> {
    fn index(&mut self, name: &'a str) -> u64 {
        let next = self.count;
        let place = *self.places.entry(name).or_insert(next);
        if place == next {
            self.count += 1;
            put(&mut self.bytes, name.len() as u64);
            self.bytes.extend_from_slice(name.as_bytes());
        }
        place
    }
}

fn decode(
    partition: Partition,
    from: Offset,
    to: Offset,
    bytes: &[u8],
) -> Result<JournalEntry, &'static str> {
    let [version, flags, rest @ ..] = bytes else { return Err("is too short") };
    if *version != VERSION {
        return Err("has a version that this program does not know");
    }
    if flags & !(LZ4 | AT_END) != 0 {
        return Err("has flags that this program does not know");
    }
    let mut input = Input(rest);
    let unpacked;
    if flags & LZ4 != 0 {
        let size = usize::try_from(input.take()?).map_err(|_| "is damaged")?;
        // LZ4 compresses at most 255 to 1. This limits how much memory a damaged size can request.
        if size > MAX_BODY || size > input.0.len().saturating_mul(256) {
            return Err("claims an impossible size");
        }
        unpacked = lz4_flex::block::decompress(input.0, size).map_err(|_| "cannot be decompressed")?;
        input = Input(&unpacked);
    }
    let epoch = input.take()?;
    let (name_count, effect_count) = (input.take()?, input.take()?);
    // Every name and every effect takes at least one byte.
    let fits = |n: u64| usize::try_from(n).ok().filter(|n| *n <= input.0.len()).ok_or("is damaged");
    let (name_count, effect_count) = (fits(name_count)?, fits(effect_count)?);
    let mut names = Vec::with_capacity(name_count);
    for _ in 0..name_count {
        let len = usize::try_from(input.take()?).map_err(|_| "is damaged")?;
        let (name, rest) = input.0.split_at_checked(len).ok_or("ends too early")?;
        names.push(SmolStr::new(std::str::from_utf8(name).map_err(|_| "contains a name that is not UTF-8")?));
        input.0 = rest;
    }
    let mut effects = Vec::with_capacity(effect_count);
    let (mut offset, mut millis) = (from, 0i64);
    let name_at = |place: u64| {
        usize::try_from(place).ok().and_then(|i| names.get(i)).ok_or("refers to a name that does not exist")
    };
    for _ in 0..effect_count {
        offset =
            offset.checked_add(input.take()?).filter(|o| *o < to).ok_or("has an effect outside its range")?;
        millis = millis.wrapping_add(input.take_signed()?);
        let kind = match input.take()? {
            0 => EventKind::Like,
            1 => EventKind::Unlike,
            2 => EventKind::Comment,
            3 => EventKind::Post,
            other => EventKind::new(name_at(other - OTHER)?).ok_or("contains an invalid kind")?,
        };
        let user = UserId::new(name_at(input.take()?)?).map_err(|_| "contains an invalid user")?;
        let post = PostId::new(name_at(input.take()?)?).map_err(|_| "contains an invalid post")?;
        effects.push(Effect { offset, user, post, kind, time: Timestamp::from_millis(millis) });
    }
    if !input.0.is_empty() {
        return Err("continues after its end");
    }
    Ok(JournalEntry { partition, from, to, epoch, at_end: flags & AT_END != 0, effects })
}

/// Writes an unsigned LEB128 number.
fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Writes a signed number in zigzag form, so that small negative numbers stay short.
fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, ((n << 1) ^ (n >> 63)) as u64);
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take(&mut self) -> Result<u64, &'static str> {
        let mut n = 0u64;
        for (i, byte) in self.0.iter().enumerate().take(10) {
            if i == 9 && *byte > 1 {
                break;
            }
            n |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Ok(n);
            }
        }
        Err("ends too early")
    }

    fn take_signed(&mut self) -> Result<i64, &'static str> {
        let n = self.take()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(effects: u64) -> JournalEntry {
        let kinds = ["like", "unlike", "comment", "post", "share"];
        let effects = (0..effects)
            .map(|i| Effect {
                offset: 100 + 3 * i,
                user: UserId::new(format!("user-{}", i % 7)).unwrap(),
                post: PostId::new(format!("p{}", i % 11)).unwrap(),
                kind: EventKind::new(kinds[i as usize % kinds.len()]).unwrap(),
                time: Timestamp::from_millis(1_700_000_000_000 - 17 * i as i64),
            })
            .collect();
        JournalEntry {
            partition: Partition(1),
            from: 90,
            to: 100 + 3 * 1000,
            epoch: 4,
            at_end: true,
            effects,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for n in [0, 1, 5, 1000] {
            let entry = entry(n);
            let bytes = entry.encode();
            assert_eq!(JournalEntry::decode(Partition(1), entry.from, entry.to, &bytes).unwrap(), entry);
        }
        let packed = entry(1000).encode();
        assert!(packed.len() < 9_000, "{} bytes for 1000 effects", packed.len());
    }

    #[test]
    fn damage_is_an_error_not_a_panic() {
        for good in [entry(3).encode(), entry(400).encode()] {
            for at in 0..good.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut bytes = good.clone();
                    bytes[at] = value;
                    let _ = JournalEntry::decode(Partition(1), 90, 3100, &bytes);
                }
                assert!(JournalEntry::decode(Partition(1), 90, 3100, &good[..at]).is_err());
            }
        }
        let other_version = JournalEntry::decode(Partition(1), 0, 9, &[2, 0, 0]).unwrap_err();
        assert_eq!(other_version.kind(), crate::ErrorKind::Corrupt);
    }
}
