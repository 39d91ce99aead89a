use std::collections::BTreeMap;

use feedkit_core::alert::OwnedKey;
use feedkit_core::{Result, UserId};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::table::{put, take};

/// Most users in a sample.
const SAMPLE: usize = 20;

/// Keys that a rule looks at more closely, with a sample of who acts on them. Bounded: the one watched longest
/// goes.
pub(super) struct Watched {
    keys: HashMap<u128, Watch>,
    /// Hashes by age; what is done for all of them is done in this order.
    ages: BTreeMap<u64, u128>,
    next_age: u64,
    max: usize,
}

pub(super) struct Watch {
    pub(super) key: OwnedKey,
    age: u64,
    samples: Vec<UserId>,
}

impl Watched {
    pub(super) fn new(max: usize) -> Self {
        Watched { keys: HashMap::new(), ages: BTreeMap::new(), next_age: 0, max }
    }

    /// Watches a key; the key that had to go for it, which is the key itself when none may be watched.
    pub(super) fn insert(&mut self, hash: u128, key: OwnedKey, user: Option<&UserId>) -> Option<u128> {
        if self.max == 0 {
            return Some(hash);
        }
        let oldest = if self.keys.len() < self.max { None } else { self.ages.pop_first() };
        if let Some((_, gone)) = oldest {
            self.keys.remove(&gone);
        }
        let age = self.next_age;
        self.next_age += 1;
        self.ages.insert(age, hash);
        self.keys.insert(hash, Watch { key, age, samples: user.into_iter().cloned().collect() });
        oldest.map(|(_, gone)| gone)
    }

    pub(super) fn remove(&mut self, hash: u128) {
        if let Some(watch) = self.keys.remove(&hash) {
            self.ages.remove(&watch.age);
        }
    }

    /// A user has acted on a watched key.
    pub(super) fn sample(&mut self, hash: u128, user: &UserId) {
        if let Some(watch) = self.keys.get_mut(&hash)
            && watch.samples.len() < SAMPLE
            && !watch.samples.contains(user)
        {
            watch.samples.push(user.clone());
        }
    }

    pub(super) fn samples(&self, hash: u128) -> &[UserId] {
        self.keys.get(&hash).map_or(&[], |watch| &watch.samples)
    }

    /// The watched keys, the one watched longest first.
    pub(super) fn keys(&self) -> Vec<(u128, OwnedKey)> {
        self.ages.values().map(|hash| (*hash, self.keys[hash].key.clone())).collect()
    }

    pub(super) fn contains(&self, hash: u128) -> bool {
        self.keys.contains_key(&hash)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn write(&self) -> Result<Vec<u8>> {
        let stored: Vec<Stored> = self
            .ages
            .values()
            .map(|hash| {
                let watch = &self.keys[hash];
                let name = watch.key.as_key().name().to_owned();
                Stored { hash: *hash, sort: sort(&watch.key), name, samples: watch.samples.clone() }
            })
            .collect();
        put(&stored, Vec::new())
    }

    pub(super) fn read(max: usize, bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (stored, rest): (Vec<Stored>, _) = take(bytes)?;
        let mut watched = Watched::new(max);
        for Stored { hash, sort, name, samples } in stored {
            let key = match sort {
                Sort::User => UserId::new(name).map(OwnedKey::User),
                Sort::Post => feedkit_core::PostId::new(name).map(OwnedKey::Post),
                Sort::All => Ok(OwnedKey::All),
            };
            let key = key.map_err(|e| super::table::corrupt(&format!("names a watched key that {e}")))?;
            watched.insert(hash, key, None);
            if let Some(watch) = watched.keys.get_mut(&hash) {
                watch.samples = samples;
            }
        }
        Ok((watched, rest))
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    hash: u128,
    sort: Sort,
    name: String,
    samples: Vec<UserId>,
}

#[derive(Serialize, Deserialize)]
enum Sort {
    User,
    Post,
    All,
}

fn sort(key: &OwnedKey) -> Sort {
    match key {
        OwnedKey::User(_) => Sort::User,
        OwnedKey::Post(_) => Sort::Post,
        OwnedKey::All => Sort::All,
    }
}
