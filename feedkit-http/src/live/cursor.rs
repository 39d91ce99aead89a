//! Cursors: the position of a client in the notifications topic, in an opaque form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use feedkit_core::{Offset, Partition, Positions};

/// The version in each cursor. Cursors of other versions are not accepted.
const VERSION: u8 = 1;

/// A position in the log. Every notification before `next` has been delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The log's incarnation.
    pub(super) log: u128,
    /// The next offset of every partition. A partition that is not listed starts at 0.
    pub(super) next: Positions,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u8,
    log: u128,
    /// The offsets, by partition from 0 on.
    next: Vec<Offset>,
}

impl Cursor {
    /// Encodes the position `next` in `log`.
    pub(super) fn encode(log: u128, next: &Positions) -> String {
        let count = next.iter().last().map_or(0, |(partition, _)| partition.0 + 1);
        let next = (0..count).map(|p| next.of(Partition(p))).collect();
        let bytes = postcard::to_stdvec(&Wire { version: VERSION, log, next });
        URL_SAFE_NO_PAD.encode(bytes.expect("integers and a vector of them can be written into memory"))
    }

    /// Decodes a cursor; `None` if `text` is not one.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (wire, rest) = postcard::take_from_bytes::<Wire>(&bytes).ok()?;
        if wire.version != VERSION || !rest.is_empty() {
            return None;
        }
        let next = (0..).map(Partition).zip(wire.next).collect();
        Some(Cursor { log: wire.log, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let next: Positions = [(Partition(0), 5), (Partition(3), 300)].into_iter().collect();
        let text = Cursor::encode(u128::MAX, &next);
        assert!(text.len() < 48, "{text}");
        let cursor = Cursor::decode(&text).unwrap();
        assert_eq!(
            (cursor.log, cursor.next.of(Partition(0)), cursor.next.of(Partition(3))),
            (u128::MAX, 5, 300)
        );
        assert_eq!(cursor.next.of(Partition(1)), 0);
        assert_eq!(Cursor::encode(cursor.log, &cursor.next), text);
        let longer = format!("{text}AAAA");
        let other_version = URL_SAFE_NO_PAD.encode([2, 0, 0]);
        for text in ["", "!", "AA", &text[..text.len() - 4], &longer, &other_version] {
            assert_eq!(Cursor::decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_length_that_is_a_lie_is_no_cursor() {
        let text = URL_SAFE_NO_PAD.encode([1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
        assert_eq!(Cursor::decode(&text), None);
    }
}
