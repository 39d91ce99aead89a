//! Changes of counters in the form that the scripts take: one argument of MessagePack.
//!
//! The server reads one argument of 30 KB faster than 4,000 small ones, and encoding a delta needs
//! no allocation.

use feedkit_core::counters::CounterDelta;
use feedkit_core::history::PostTotals;
use feedkit_core::trending::Score;
use feedkit_core::{Error, Result};

/// Maximum integer that Lua represents exactly. Numbers in Lua are doubles.
const EXACT: u64 = (1 << 53) - 1;

/// The changes to one shard.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    likes: Vec<(&'a str, i64, Score)>,
    others: Vec<(&'a str, &'a str, i64)>,
    authors: Vec<(&'a str, &'a str)>,
    kinds: Vec<&'a str>,
}

impl<'a> Changes<'a> {
    /// Adds the change to one counter.
    pub(super) fn add(&mut self, delta: &'a CounterDelta) -> Result<()> {
        self.push(delta.post.as_str(), &delta.kind, delta.by, delta.score)?;
        if let Some(author) = &delta.author {
            self.authors.push((delta.post.as_str(), author.as_str()));
        }
        Ok(())
    }

    /// Adds all counts of one post.
    pub(super) fn set(&mut self, totals: &'a PostTotals) -> Result<()> {
        let post = totals.post.as_str();
        for (kind, count) in &totals.counts {
            self.push(post, kind, *count, totals.score)?;
        }
        if let Some(author) = &totals.author {
            self.authors.push((post, author.as_str()));
        }
        Ok(())
    }

    /// The number of counters that change.
    pub(super) fn len(&self) -> usize {
        self.likes.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.authors.is_empty()
    }

    fn push(&mut self, post: &'a str, kind: &'a str, by: i64, score: Score) -> Result<()> {
        if by.unsigned_abs() > EXACT || !score.value.is_finite() {
            let value = score.value;
            return Err(Error::data(format!(
                "post {post}: {by} {kind}s, score {value}: too large for Redis"
            )));
        }
        if kind == "like" {
            self.likes.push((post, by, score));
            return Ok(());
        }
        self.others.push((post, kind, by));
        if kind != "comment" && !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        Ok(())
    }

    /// Encodes the changes for the scripts.
    pub(super) fn encode(&self) -> Vec<u8> {
        let scored = || self.likes.iter().map(|(_, _, score)| *score).filter(|score| score.value != 0.0);
        // All scores get one generation, so that a script compares with one landmark.
        let generation = scored().map(|score| score.generation).max();
        let mut pack = Pack(Vec::with_capacity(64 + self.likes.len() * 40 + self.others.len() * 32));
        pack.array(8);
        pack.array(self.likes.len());
        self.likes.iter().for_each(|(post, _, _)| pack.text(&[post]));
        pack.array(self.likes.len());
        self.likes.iter().for_each(|(_, by, _)| pack.integer(*by));
        pack.array(self.likes.len());
        for (_, _, score) in &self.likes {
            pack.float(generation.map_or(0.0, |generation| score.in_generation(generation).value));
        }
        pack.array(self.others.len());
        self.others.iter().for_each(|(post, kind, _)| pack.text(&[post, ":", kind, "s"]));
        pack.array(self.others.len());
        self.others.iter().for_each(|(_, _, by)| pack.integer(*by));
        pack.array(2 * self.authors.len());
        for (post, author) in &self.authors {
            pack.text(&[post]);
            pack.text(&[author]);
        }
        pack.array(self.kinds.len());
        self.kinds.iter().for_each(|kind| pack.text(&[kind]));
        match generation {
            Some(generation) => pack.integer(generation),
            None => pack.nil(),
        }
        pack.0
    }
}

/// A writer of the part of MessagePack that is needed here.
struct Pack(Vec<u8>);

impl Pack {
    fn array(&mut self, len: usize) {
        self.0.push(0xdd);
        self.0.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    }

    /// Writes the parts as one string.
    fn text(&mut self, parts: &[&str]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        match u8::try_from(len) {
            Ok(len) if len < 32 => self.0.push(0xa0 | len),
            _ => {
                self.0.push(0xdb);
                self.0.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        parts.iter().for_each(|part| self.0.extend_from_slice(part.as_bytes()));
    }

    fn integer(&mut self, n: i64) {
        match u8::try_from(n) {
            Ok(small) if small < 128 => self.0.push(small),
            _ => {
                self.0.push(0xd3);
                self.0.extend_from_slice(&n.to_be_bytes());
            }
        }
    }

    fn float(&mut self, x: f64) {
        self.0.push(0xcb);
        self.0.extend_from_slice(&x.to_be_bytes());
    }

    fn nil(&mut self) {
        self.0.push(0xc0);
    }
}
