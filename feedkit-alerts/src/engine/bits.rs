//! One bit for each slot of a table.

use feedkit_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// One bit for each slot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn get(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    pub(super) fn set(&mut self, at: usize, value: bool) {
        let bit = 1 << (at % 64);
        match value {
            true => self.0[at / 64] |= bit,
            false => self.0[at / 64] &= !bit,
        }
    }

    /// Makes room for `len` bits. New bits are not set.
    pub(super) fn grow(&mut self, len: usize) {
        self.0.resize(len.div_ceil(64), 0);
    }

    /// Checks that there are bits for `stored` slots, and keeps those of the first `len`.
    pub(super) fn fit(&mut self, stored: usize, len: usize) -> Result<()> {
        if self.0.len() != stored.div_ceil(64) {
            let words = self.0.len();
            return Err(Error::corrupt(format!(
                "the rules' snapshot has {words} words of bits for {stored} states"
            )));
        }
        self.0.truncate(len.div_ceil(64));
        if let (Some(last), used @ 1..) = (self.0.last_mut(), len % 64) {
            *last &= (1 << used) - 1;
        }
        Ok(())
    }

    pub(super) fn word(&self, word: usize) -> u64 {
        self.0[word]
    }

    pub(super) fn clear(&mut self, word: usize, mask: u64) {
        self.0[word] &= !mask;
    }
}
