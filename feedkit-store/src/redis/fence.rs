//! Fences in the form in which Redis stores them.

use feedkit_core::counters::Fence;
use feedkit_core::{Error, Offset, Result};
use redis::Value;

use super::reply;

/// A fence without its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Mark {
    pub(super) position: Offset,
    pub(super) chunk: u32,
}

impl Mark {
    pub(super) fn of(fence: &Fence) -> Self {
        Mark { position: fence.position, chunk: fence.chunk }
    }

    /// Encodes the mark in digits of fixed width. Scripts compare them as text, because Lua's
    /// numbers would not be exact.
    pub(super) fn encode(self) -> String {
        format!("{:020}.{:010}", self.position, self.chunk)
    }

    /// Decodes a mark; `None` for nil.
    pub(super) fn decode(value: Option<&Value>) -> Result<Option<Self>> {
        let Some(text) = value.and_then(reply::text) else { return Ok(None) };
        let parts = text.split_once('.').and_then(|(p, c)| Some((p.parse().ok()?, c.parse().ok()?)));
        match parts {
            Some((position, chunk)) => Ok(Some(Mark { position, chunk })),
            None => Err(Error::corrupt(format!("Redis holds {text:?} in place of a fence"))),
        }
    }

    pub(super) fn fence(self, incarnation: u128) -> Fence {
        Fence { position: self.position, chunk: self.chunk, incarnation }
    }
}

pub(super) fn encode_incarnation(incarnation: u128) -> String {
    format!("{incarnation:032x}")
}

/// Decodes an incarnation; `None` for nil.
pub(super) fn decode_incarnation(value: Option<&Value>) -> Result<Option<u128>> {
    let Some(text) = value.and_then(reply::text) else { return Ok(None) };
    match u128::from_str_radix(&text, 16) {
        Ok(incarnation) => Ok(Some(incarnation)),
        Err(_) => Err(Error::corrupt(format!("Redis holds {text:?} in place of an incarnation"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_compare_as_their_text() {
        let marks = [(0, 0), (0, 1), (9, 0), (10, 0), (10, 12), (u64::MAX, u32::MAX)];
        let marks = marks.map(|(position, chunk)| Mark { position, chunk });
        for pair in marks.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].encode() < pair[1].encode());
        }
        for mark in marks {
            assert_eq!(Mark::decode(Some(&Value::SimpleString(mark.encode()))).unwrap(), Some(mark));
        }
        assert!(Mark::decode(Some(&Value::SimpleString("x".to_owned()))).is_err());
    }
}
