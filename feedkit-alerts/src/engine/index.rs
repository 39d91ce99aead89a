//! Finds the slots of a table by hash.

/// Finds slots by hash, by open addressing with linear probing.
///
/// An entry holds the slot's number and 32 bits of the hash. So a probe usually reads one cache
/// line, and growing reads no slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    used: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u32,
    slot: u32,
}

const EMPTY: Entry = Entry { tag: 0, slot: u32::MAX };

/// Maximum share of used entries: four of five. The index grows by half, so a slot takes 10 to 15
/// bytes.
const FULL: (usize, usize) = (4, 5);

/// Maximum number of bytes per slot.
pub(super) const BYTES_AT_MOST: usize = size_of::<Entry>() * 3 * FULL.1 / (2 * FULL.0);

impl Index {
    /// Finds the first slot with this hash for which `same` returns true.
    #[inline]
    pub(super) fn find(&self, hash: u128, same: impl Fn(usize) -> bool) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let tag = tag(hash);
        let mut at = self.home(tag);
        loop {
            let entry = self.entries[at];
            if entry.slot == u32::MAX {
                return None;
            }
            if entry.tag == tag && same(entry.slot as usize) {
                return Some(entry.slot as usize);
            }
            at = self.after(at);
        }
    }

    /// Reads the entry where the search for `hash` begins, which brings it into the cache.
    #[inline]
    pub(super) fn touch(&self, hash: u128) {
        if let Some(entry) = self.entries.get(self.home(tag(hash))) {
            std::hint::black_box(entry.tag);
        }
    }

    /// Adds a slot that is not in the index.
    pub(super) fn insert(&mut self, hash: u128, slot: usize) {
        if (self.used + 1) * FULL.1 > self.entries.len() * FULL.0 {
            self.grow();
        }
        let slot = u32::try_from(slot).expect("a table has fewer than 2^32 - 1 slots");
        self.put(Entry { tag: tag(hash), slot });
        self.used += 1;
    }

    /// Removes a slot that is in the index.
    pub(super) fn remove(&mut self, hash: u128, slot: usize) {
        let mut hole = self.home(tag(hash));
        while self.entries[hole].slot as usize != slot {
            debug_assert!(self.entries[hole].slot != u32::MAX, "the slot is in the index");
            hole = self.after(hole);
        }
        // The entries that follow move up, unless that would put them before their home.
        let mut at = hole;
        loop {
            at = self.after(at);
            let entry = self.entries[at];
            if entry.slot == u32::MAX {
                break;
            }
            let home = self.home(entry.tag);
            let stays = match hole <= at {
                true => hole < home && home <= at,
                false => hole < home || home <= at,
            };
            if !stays {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = EMPTY;
        self.used -= 1;
    }

    fn grow(&mut self) {
        let len = (self.entries.len() + self.entries.len() / 2).max(64);
        let old = std::mem::replace(&mut self.entries, vec![EMPTY; len]);
        for entry in old.into_iter().filter(|e| e.slot != u32::MAX) {
            self.put(entry);
        }
    }

    fn put(&mut self, entry: Entry) {
        let mut at = self.home(entry.tag);
        while self.entries[at].slot != u32::MAX {
            at = self.after(at);
        }
        self.entries[at] = entry;
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.entries.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() { 0 } else { at + 1 }
    }
}

fn tag(hash: u128) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::HashMap;

    #[test]
    fn index_finds_what_is_in_and_nothing_else() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let (mut index, mut model) = (Index::default(), HashMap::new());
        // There are few tags, so that they collide and wrap around the end.
        let hash = |slot: usize| (slot as u128 % 37) * 0x0700_0000 + 0xf000_0000;
        for _ in 0..20_000 {
            let slot = rng.random_range(0..300usize);
            match model.remove(&slot) {
                Some(()) => index.remove(hash(slot), slot),
                None => {
                    index.insert(hash(slot), slot);
                    model.insert(slot, ());
                }
            }
            let asked = rng.random_range(0..300usize);
            let found = index.find(hash(asked), |s| s == asked);
            assert_eq!(found.is_some(), model.contains_key(&asked));
        }
    }
}
