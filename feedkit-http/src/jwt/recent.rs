//! A cache of verified tokens, because clients send the same token with every request.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::{Mutex, MutexGuard};

use super::claims::Verified;

/// Maximum length of a cached token, so that the maximum number of tokens also limits memory.
const MAX_TOKEN_BYTES: usize = 2048;
const SHARDS: usize = 16;

/// A bounded number of tokens with their contents.
///
/// Each shard has two generations. A token that is used moves to the young one. When that is full,
/// it becomes the old one, and the former old one is forgotten.
pub(super) struct Recent {
    shards: [Mutex<Shard>; SHARDS],
    hasher: DefaultHashBuilder,
    /// Maximum number of tokens in one generation of a shard.
    generation_len: usize,
}

#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

/// The key is the whole token, so that any difference makes another token.
type Generation = HashMap<Box<str>, Entry>;

#[derive(Clone)]
struct Entry {
    verified: Arc<Verified>,
    /// The version of the keys that verified it.
    keys: u64,
}

impl Recent {
    /// A cache of at most `tokens`.
    pub(super) fn new(tokens: usize) -> Self {
        let generation_len = tokens.div_ceil(2 * SHARDS);
        Recent { shards: Default::default(), hasher: DefaultHashBuilder::default(), generation_len }
    }

    /// The contents of `token`, if this version of the keys verified it.
    pub(super) fn find(&self, token: &str, keys: u64) -> Option<Arc<Verified>> {
        let mut shard = self.shard(token);
        if let Some(entry) = shard.young.get(token) {
            return (entry.keys == keys).then(|| Arc::clone(&entry.verified));
        }
        let (token, entry) = shard.old.remove_entry(token)?;
        let verified = (entry.keys == keys).then(|| Arc::clone(&entry.verified))?;
        shard.insert(token, entry, self.generation_len);
        Some(verified)
    }

    pub(super) fn keep(&self, token: &str, verified: Arc<Verified>, keys: u64) {
        if self.generation_len > 0 && token.len() <= MAX_TOKEN_BYTES {
            self.shard(token).insert(token.into(), Entry { verified, keys }, self.generation_len);
        }
    }

    fn shard(&self, token: &str) -> MutexGuard<'_, Shard> {
        let at = (self.hasher.hash_one(token) >> 32) as usize % SHARDS;
        self.shards[at].lock()
    }
}

impl Shard {
    fn insert(&mut self, token: Box<str>, entry: Entry, generation_len: usize) {
        if self.young.len() >= generation_len {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use feedkit_core::access::Identity;
    use feedkit_core::{Timestamp, UserId};

    fn verified() -> Arc<Verified> {
        let user = UserId::new("a").unwrap();
        let identity = Identity { user, roles: vec![], scopes: vec![], expires_at: Timestamp::EPOCH };
        Arc::new(Verified { identity, not_before: None })
    }

    #[test]
    fn is_bounded_and_keeps_what_is_asked_for() {
        let recent = Recent::new(320);
        recent.keep("hot", verified(), 1);
        for i in 0..10_000 {
            recent.keep(&format!("token {i}"), verified(), 1);
            assert!(recent.find("hot", 1).is_some(), "{i}");
        }
        let kept: usize = recent.shards.iter().map(|s| s.lock()).map(|s| s.young.len() + s.old.len()).sum();
        assert!(kept <= 320, "{kept}");
    }

    #[test]
    fn forgets_what_other_keys_verified() {
        let recent = Recent::new(320);
        recent.keep("a", verified(), 1);
        assert!(recent.find("a", 2).is_none() && recent.find("b", 1).is_none());
        recent.keep("a", verified(), 2);
        assert!(recent.find("a", 2).is_some());
        recent.keep(&"x".repeat(MAX_TOKEN_BYTES + 1), verified(), 1);
        assert!(recent.find(&"x".repeat(MAX_TOKEN_BYTES + 1), 1).is_none());
    }
}
