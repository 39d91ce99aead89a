//! One shard: what it is given to count, and what it answers.

use feedkit_core::counters::CounterChunk;
use feedkit_core::{Error, Result};
use redis::Value;

use super::changes::Changes;
use super::failure::unexpected;
use super::fence::{Mark, decode_incarnation};
use super::reply;
use super::script::LOOK;

/// What one shard is to count of a chunk.
pub(super) struct Part<'a> {
    pub(super) chunk: &'a CounterChunk,
    /// The generation that the shard's data must be of; empty for any.
    pub(super) generation: &'a str,
    /// The shard has counted up to here at least, or misses something.
    pub(super) least: Mark,
    pub(super) changes: &'a Changes<'a>,
}

/// What a shard did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    Done,
    Skipped,
    /// Where it stands, in which incarnation of the history.
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

/// A key holds what is not feedkit's. As a gap it asks for a rebuild, which removes it.
pub(super) fn misfit(rest: &[Value]) -> Error {
    let at = |place| reply::text_at(rest, place).unwrap_or_default();
    Error::gap(format!("Redis holds a {} at {}: the counters have to be rebuilt", at(1), at(0)))
}

/// Where a shard stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Of the shard's data: the token of the rebuild that it comes from.
    pub(super) generation: String,
    pub(super) incarnation: Option<u128>,
    pub(super) fence: Option<Mark>,
    /// Up to where all shards have counted the partition, if this is its home.
    pub(super) home: Option<Mark>,
    /// The fences noted there, by shard.
    pub(super) noted: Vec<Option<Mark>>,
    /// It is being rebuilt, or its own keys hold something else: it will have to be.
    pub(super) unusable: bool,
}

impl Standing {
    pub(super) fn read(answer: Value) -> Result<Self> {
        let doing = LOOK.doing();
        let Some((name, mut rest)) = reply::named(answer) else { return Err(unexpected(doing, &Value::Nil)) };
        if name == "misfit" {
            return Ok(Standing { unusable: true, ..Standing::default() });
        }
        // A rebuild's token stands here.
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
