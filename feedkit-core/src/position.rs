//! Positions in the log. An offset always names the **next** record to read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A partition of the log. The records of one user are in one partition, so that they keep their
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The offset of the next record to read. The first record of a partition has offset 0.
pub type Offset = u64;

/// How many times a partition or a lease has been claimed. A write with an older epoch is refused.
pub type Epoch = u64;

/// A position in the log, just after a record. A reader that has read up to here has read that
/// record.
///
/// Its text form is `PARTITION:OFFSET`, such as `3:1045`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The next offset to read in the partition.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// The text is not of the form `PARTITION:OFFSET`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a position (such as 3:1045)")]
pub struct ParsePositionError;

impl FromStr for Position {
    type Err = ParsePositionError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (partition, offset) = s.split_once(':').ok_or(ParsePositionError)?;
        let partition = Partition(partition.parse().map_err(|_| ParsePositionError)?);
        let offset = offset.parse().map_err(|_| ParsePositionError)?;
        Ok(Position { partition, offset })
    }
}

/// The next offset of each partition. A partition that is not contained has offset 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(BTreeMap<Partition, Offset>);

impl Positions {
    /// Creates positions that contain no partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next offset of `partition`.
    pub fn of(&self, partition: Partition) -> Offset {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    /// Sets the next offset of `partition`.
    pub fn set(&mut self, partition: Partition, offset: Offset) {
        self.0.insert(partition, offset);
    }

    /// Moves `partition` forward to `offset`, but never back.
    pub fn advance(&mut self, partition: Partition, offset: Offset) {
        let at = self.0.entry(partition).or_insert(0);
        *at = offset.max(*at);
    }

    /// Whether each partition of `other` has been read at least as far here.
    pub fn covers(&self, other: &Positions) -> bool {
        other.iter().all(|(partition, offset)| self.of(partition) >= offset)
    }

    /// The contained partitions in order, with their next offsets.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Offset)> + '_ {
        self.0.iter().map(|(p, o)| (*p, *o))
    }

    /// The sum of all offsets.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl FromIterator<(Partition, Offset)> for Positions {
    fn from_iter<I: IntoIterator<Item = (Partition, Offset)>>(iter: I) -> Self {
        Positions(iter.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_what_they_print() {
        let position = Position { partition: Partition(3), offset: 1045 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "3", "3:", ":4", "3:-1", "a:1"] {
            assert_eq!(text.parse::<Position>(), Err(ParsePositionError), "{text}");
        }
    }

    #[test]
    fn a_vector_covers_what_it_has_read() {
        let at: Positions = [(Partition(0), 5), (Partition(1), 2)].into_iter().collect();
        let mut more = at.clone();
        more.advance(Partition(1), 1);
        assert_eq!(more, at);
        more.advance(Partition(2), 1);
        assert!(more.covers(&at) && !at.covers(&more) && at.covers(&Positions::new()));
    }
}
