/// Finds slots by hash: open addressing with linear probing, 32 bits of the hash beside each slot's number, so
/// that a probe reads one cache line, and growing reads no slot.
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

/// At most four of five entries are used, and growth is by half: 10 to 15 bytes a slot.
const FULL: (usize, usize) = (4, 5);

pub(super) const BYTES_AT_MOST: usize = size_of::<Entry>() * 3 * FULL.1 / (2 * FULL.0);

impl Index {
    /// The first slot of this hash for which `same` holds.
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

    /// Reads the place where the search for `hash` begins.
    #[inline]
    pub(super) fn touch(&self, hash: u128) {
        if let Some(entry) = self.entries.get(self.home(tag(hash))) {
            std::hint::black_box(entry.tag);
        }
    }

    /// Adds a slot that is not there yet.
    pub(super) fn insert(&mut self, hash: u128, slot: usize) {
        if (self.used + 1) * FULL.1 > self.entries.len() * FULL.0 {
            self.grow();
        }
        let slot = u32::try_from(slot).expect("a table has fewer than 2^32 - 1 slots");
        self.put(Entry { tag: tag(hash), slot });
        self.used += 1;
    }

    /// Removes a slot that is there.
    pub(super) fn remove(&mut self, hash: u128, slot: usize) {
        let mut hole = self.home(tag(hash));
        while self.entries[hole].slot as usize != slot {
            debug_assert!(self.entries[hole].slot != u32::MAX, "the slot is in the index");
            hole = self.after(hole);
        }
        // What follows moves up unless that would bring it before its home.
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
