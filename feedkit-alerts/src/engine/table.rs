//! A bounded number of states by key.

use feedkit_core::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bits::Bits;
use super::encoding::{corrupt, put, take};
use super::index::{self, Index};
use super::slab::{Slab, Slot};

/// The states of a bounded number of keys.
///
/// When the table is full, CLOCK ("second chance", Corbató 1968) evicts a key that has not been
/// used for long. Each use sets the slot's bit. The hand moves around the slots, clears the bits
/// that are set, and evicts the first slot whose bit was not set.
///
/// A snapshot holds the slots, the bits and the hand. The index is built from them, and the order
/// of eviction does not depend on it.
pub(super) struct Table<S> {
    index: Index,
    slots: Slab<S>,
    referenced: Bits,
    /// Slots that are not evicted. A snapshot does not hold them: the caller knows which it pins.
    pinned: Bits,
    hand: usize,
    max_keys: usize,
}

/// Number of bytes that a key takes in addition to its hash: state, index and bits.
pub(super) const fn bytes_per_key<S>() -> usize {
    size_of::<Slot<S>>() - size_of::<u128>() + index::BYTES_AT_MOST + 1
}

impl<S: Default> Table<S> {
    pub(super) fn new(max_keys: usize) -> Self {
        Table {
            index: Index::default(),
            slots: Slab::new(),
            referenced: Bits::default(),
            pinned: Bits::default(),
            hand: 0,
            max_keys: max_keys.clamp(1, u32::MAX as usize - 1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Reads the index entry where the search for a key begins, so that it is in the cache for the
    /// search.
    #[inline]
    pub(super) fn touch(&self, key: u128) {
        self.index.touch(key);
    }

    /// Finds the slot of a key, or takes one with a new state, and marks it as used.
    ///
    /// `found` is the result of an earlier [`find`](Self::find). Another key may have taken that
    /// slot since.
    #[inline]
    pub(super) fn slot(&mut self, key: u128, found: Option<usize>) -> usize {
        match found.filter(|slot| self.slots.at(*slot).key == key).or_else(|| self.find(key)) {
            Some(slot) => {
                self.referenced.set(slot, true);
                slot
            }
            None => self.insert(key),
        }
    }

    /// Finds the slot of a key, and does not mark it as used.
    #[inline]
    pub(super) fn find(&self, key: u128) -> Option<usize> {
        self.index.find(key, |slot| self.slots.at(slot).key == key)
    }

    #[inline]
    pub(super) fn state_mut(&mut self, slot: usize) -> &mut S {
        &mut self.slots.at_mut(slot).state
    }

    /// Pins or unpins a slot. A pinned slot is not evicted. Fewer than half of the slots may be
    /// pinned.
    pub(super) fn pin(&mut self, slot: usize, pinned: bool) {
        self.pinned.set(slot, pinned);
    }

    #[inline]
    pub(super) fn is_pinned(&self, slot: usize) -> bool {
        self.pinned.get(slot)
    }

    #[cold]
    fn insert(&mut self, key: u128) -> usize {
        let new = Slot { key, state: S::default() };
        let slot = if self.slots.len() < self.max_keys {
            self.slots.push(new);
            self.referenced.grow(self.slots.len());
            self.pinned.grow(self.slots.len());
            self.slots.len() - 1
        } else {
            let slot = self.victim();
            self.index.remove(self.slots.at(slot).key, slot);
            *self.slots.at_mut(slot) = new;
            slot
        };
        self.index.insert(key, slot);
        slot
    }

    /// Moves the hand past the next slot to evict, and returns that slot.
    fn victim(&mut self) -> usize {
        let len = self.slots.len();
        loop {
            let (word, bit) = (self.hand / 64, self.hand % 64);
            let in_word = (len - word * 64).min(64);
            let ahead = (u64::MAX >> (64 - in_word)) & (u64::MAX << bit);
            let free = ahead & !self.referenced.word(word) & !self.pinned.word(word);
            let found = free.trailing_zeros() as usize;
            let passed = if free == 0 { ahead } else { ahead & ((1 << found) - 1) };
            self.referenced.clear(word, passed);
            let next = if free == 0 { word * 64 + in_word } else { word * 64 + found + 1 };
            self.hand = if next >= len { 0 } else { next };
            if free != 0 {
                return word * 64 + found;
            }
        }
    }
}

impl<S: Default + Serialize + DeserializeOwned> Table<S> {
    /// Writes the table in pieces: a head, then one piece per block.
    pub(super) fn write(&self) -> impl Iterator<Item = Result<Vec<u8>>> {
        let head = || put(&(self.slots.len(), self.hand, &self.referenced), Vec::new());
        let block = |block: &[Slot<S>]| {
            let mut out = Vec::with_capacity(size_of_val(block));
            for slot in block {
                out.extend_from_slice(&slot.key.to_le_bytes());
                out = put(&slot.state, out)?;
            }
            Ok(out)
        };
        std::iter::once_with(head).chain(self.slots.blocks().map(block))
    }

    /// Reads a table, and returns it with the bytes that follow. Keys beyond `max_keys` are
    /// dropped.
    pub(super) fn read(max_keys: usize, bytes: &[u8]) -> Result<(Self, &[u8])> {
        let mut table = Table::new(max_keys);
        let ((stored, hand, referenced), mut rest): ((usize, usize, Bits), _) = take(bytes)?;
        for slot in 0..stored {
            let (key, state) = rest.split_first_chunk::<16>().ok_or_else(|| corrupt("ends early"))?;
            let (state, after) = take::<S>(state)?;
            rest = after;
            if slot < table.max_keys {
                let key = u128::from_le_bytes(*key);
                table.slots.push(Slot { key, state });
                table.index.insert(key, slot);
            }
        }
        let len = table.slots.len();
        table.referenced = referenced;
        table.referenced.fit(stored, len)?;
        table.pinned.grow(len);
        table.hand = if hand < len { hand } else { 0 };
        Ok((table, rest))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// CLOCK in its simplest form: a list that is searched from end to end.
    pub(in crate::engine) struct Plain {
        slots: Vec<(u128, u64, bool)>,
        hand: usize,
        max: usize,
    }

    impl Plain {
        pub(in crate::engine) fn new(max: usize) -> Self {
            Plain { slots: Vec::new(), hand: 0, max }
        }

        /// Counts a key, and returns its count since it was last evicted.
        pub(in crate::engine) fn count(&mut self, key: u128) -> u64 {
            if let Some(slot) = self.slots.iter_mut().find(|s| s.0 == key) {
                slot.2 = true;
                slot.1 += 1;
                return slot.1;
            }
            if self.slots.len() < self.max {
                self.slots.push((key, 1, false));
                return 1;
            }
            while std::mem::take(&mut self.slots[self.hand].2) {
                self.hand = (self.hand + 1) % self.max;
            }
            self.slots[self.hand] = (key, 1, false);
            self.hand = (self.hand + 1) % self.max;
            1
        }
    }

    fn written(table: &Table<u64>) -> Vec<u8> {
        table.write().collect::<Result<Vec<_>>>().unwrap().concat()
    }

    #[test]
    fn evicts_the_same_keys_as_the_simple_form_across_snapshots() {
        for seed in 0..20u64 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let max = rng.random_range(1..200);
            let hash = |k: u64| xxhash_rust::xxh3::xxh3_128_with_seed(&k.to_le_bytes(), seed);
            let mut plain = Plain::new(max);
            let mut table = Table::<u64>::new(max);
            for i in 0..5_000 {
                let key = hash((rng.random_range(0.0f64..1.0).powi(3) * 3.0 * max as f64) as u64);
                let slot = table.slot(key, None);
                *table.state_mut(slot) += 1;
                assert_eq!(*table.state_mut(slot), plain.count(key), "seed {seed}, call {i}");
                if rng.random_range(0..500) == 0 {
                    let bytes = written(&table);
                    let (again, rest) = Table::read(max, &bytes).unwrap();
                    assert!(rest.is_empty());
                    table = again;
                }
            }
            assert!(table.len() <= max);
        }
    }

    #[test]
    fn a_key_takes_at_most_64_bytes_besides_its_hash() {
        use crate::rules::{SpikeState, UserRateState};
        let taken = [bytes_per_key::<SpikeState>(), bytes_per_key::<UserRateState>()];
        println!("spike {} bytes, user_rate {} bytes", taken[0], taken[1]);
        assert!(taken.iter().all(|bytes| *bytes <= 64), "{taken:?}");
    }

    #[test]
    fn pinned_slots_stay() {
        let mut table = Table::<u64>::new(10);
        let slot = table.slot(1, None);
        *table.state_mut(slot) = 77;
        table.pin(slot, true);
        for key in 2..1_000 {
            table.slot(key, None);
        }
        let slot = table.find(1).unwrap();
        assert_eq!(*table.state_mut(slot), 77);
        table.pin(slot, false);
        for key in 1_000..1_010 {
            table.slot(key, None);
        }
        assert_eq!(table.find(1), None);
    }

    #[test]
    fn broken_snapshots_are_refused() {
        let mut table = Table::<u64>::new(100);
        for key in 0..70 {
            table.slot(key, None);
        }
        let bytes = written(&table);
        for len in 0..bytes.len() {
            assert!(Table::<u64>::read(100, &bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        let (smaller, _) = Table::<u64>::read(65, &bytes).unwrap();
        assert_eq!((smaller.len(), smaller.find(64), smaller.find(65)), (65, Some(64), None));
    }
}
