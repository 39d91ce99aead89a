//! The keys that a rule watches.

use std::collections::BTreeMap;

use feedkit_core::alert::OwnedKey;
use feedkit_core::{Result, UserId};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::encoding::{corrupt, put, take};

/// Maximum number of users in a sample.
const SAMPLE: usize = 20;

/// The keys that a rule watches, with a sample of the users who act on each.
///
/// Their number is bounded. When there is no room, the key that was watched longest is dropped.
pub(super) struct Watched {
    keys: HashMap<u128, Watch>,
    /// The hashes by age. Loops over all keys use this order.
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

    /// Watches a key, and returns the key that was dropped for it. If no key may be watched, that
    /// is the key itself.
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

    /// Adds a user who acted on a watched key to its sample.
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

    /// The watched keys. The one that was watched longest comes first.
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
                Stored { hash: *hash, kind: kind(&watch.key), name, samples: watch.samples.clone() }
            })
            .collect();
        put(&stored, Vec::new())
    }

    pub(super) fn read(max: usize, bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (stored, rest): (Vec<Stored>, _) = take(bytes)?;
        let mut watched = Watched::new(max);
        for Stored { hash, kind, name, samples } in stored {
            let key = match kind {
                Kind::User => UserId::new(name).map(OwnedKey::User),
                Kind::Post => feedkit_core::PostId::new(name).map(OwnedKey::Post),
                Kind::All => Ok(OwnedKey::All),
            };
            let key = key.map_err(|e| corrupt(&format!("has an invalid watched key: {e}")))?;
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
    kind: Kind,
    name: String,
    samples: Vec<UserId>,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    User,
    Post,
    All,
}

fn kind(key: &OwnedKey) -> Kind {
    match key {
        OwnedKey::User(_) => Kind::User,
        OwnedKey::Post(_) => Kind::Post,
        OwnedKey::All => Kind::All,
    }
}
