//! One shard: the part of a chunk that it counts, and its replies.

use feedkit_core::counters::CounterChunk;
use feedkit_core::{Error, Result};
use redis::Value;

use super::changes::Changes;
use super::failure::unexpected;
use super::fence::{Mark, decode_incarnation};
use super::reply;
use super::script::LOOK;

/// The part of a chunk that one shard counts.
pub(super) struct Part<'a> {
    pub(super) chunk: &'a CounterChunk,
    /// The generation that the shard's data must have; empty for any.
    pub(super) generation: &'a str,
    /// The least fence that the shard may have. With a lower one it has missed a chunk.
    pub(super) least: Mark,
    pub(super) changes: &'a Changes<'a>,
}

/// What a shard did with its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    Done,
    Skipped,
    /// Its fence, and the incarnation of the history.
    Gap(Option<Mark>, Option<u128>),
}

impl Applied {
    pub(super) fn read(doing: &str, answer: Value) -> Result<Self> {
        let Some((name, rest)) = reply::named(answer) else { return Err(unexpected(doing, &Value::Nil)) };
        match name.as_str() {
            "applied" => Ok(Applied::Done),
            "skipped" => Ok(Applied::Skipped),
            "gap" => Ok(Applied::Gap(Mark::decode(rest.first())?, decode_incarnation(rest.get(1))?)),
            "misfit" => Err(misfit(&rest)),
            _ => Err(unexpected(doing, &Value::SimpleString(name))),
        }
    }
}

/// The error of a key with a value that is not feedkit's. It is a gap, which asks for a rebuild,
/// and a rebuild removes the key.
pub(super) fn misfit(rest: &[Value]) -> Error {
    let at = |place| reply::text_at(rest, place).unwrap_or_default();
    Error::gap(format!("Redis holds a {} at {}; the counters must be rebuilt", at(1), at(0)))
}

/// How far a shard has counted.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The generation of the shard's data: the token of the rebuild that wrote it.
    pub(super) generation: String,
    pub(super) incarnation: Option<u128>,
    pub(super) fence: Option<Mark>,
    /// How far all shards have counted the partition, if this shard is its home.
    pub(super) home: Option<Mark>,
    /// The fences that the home has recorded, by shard.
    pub(super) noted: Vec<Option<Mark>>,
    /// Whether it is being rebuilt, or must be because its keys hold something else.
    pub(super) unusable: bool,
}

impl Standing {
    pub(super) fn read(answer: Value) -> Result<Self> {
        let doing = LOOK.doing();
        let Some((name, mut rest)) = reply::named(answer) else { return Err(unexpected(doing, &Value::Nil)) };
        if name == "misfit" {
            return Ok(Standing { unusable: true, ..Standing::default() });
        }
        // The token of a running rebuild is here.
        if rest.get(1).and_then(reply::text).is_some() {
            return Ok(Standing { unusable: true, ..Standing::default() });
        }
        let home = reply::array_at(&mut rest, 4).unwrap_or_default();
        Ok(Standing {
            generation: reply::text_at(&rest, 0).ok_or_else(|| unexpected(doing, &Value::Nil))?,
            incarnation: decode_incarnation(rest.get(2))?,
            fence: Mark::decode(rest.get(3))?,
            home: Mark::decode(home.first())?,
            noted: home.iter().skip(1).map(|mark| Mark::decode(Some(mark))).collect::<Result<_>>()?,
            unusable: false,
        })
    }
}
