//! Keys as hashes.

use std::hash::{BuildHasher, Hasher, RandomState};

use feedkit_core::alert::Key;
use feedkit_core::effect::Effect;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Hashes names to 128 bits.
///
/// Each installation has its own seed, so that nobody can choose names whose hashes collide. The
/// alerts do not depend on the seed: the whole hash identifies a state, and the order of eviction
/// depends only on how the keys are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyHasher {
    pub(super) seed: u64,
}

/// An effect with the hashes of its names. They are computed once for all rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HashedEffect<'a> {
    pub(super) effect: &'a Effect,
    pub(super) user: u128,
    pub(super) post: u128,
}

impl KeyHasher {
    /// A hasher with a random seed.
    pub(super) fn random() -> Self {
        // Each `RandomState` has random keys of its own.
        KeyHasher { seed: RandomState::new().build_hasher().finish() }
    }

    /// Hashes an effect's names.
    pub(crate) fn hash<'a>(&self, effect: &'a Effect) -> HashedEffect<'a> {
        HashedEffect { effect, user: self.user(effect.user.as_str()), post: self.post(effect.post.as_str()) }
    }

    pub(super) fn key(&self, key: Key<'_>) -> u128 {
        match key {
            Key::User(user) => self.user(user.as_str()),
            Key::Post(post) => self.post(post.as_str()),
            Key::All => 0,
        }
    }

    fn user(&self, name: &str) -> u128 {
        xxh3_128_with_seed(name.as_bytes(), self.seed)
    }

    /// A user and a post with the same name are two keys, so posts have another seed.
    fn post(&self, name: &str) -> u128 {
        xxh3_128_with_seed(name.as_bytes(), !self.seed)
    }
}

impl HashedEffect<'_> {
    /// The hash of the key that a rule chose for this effect. Usually it is one of the effect's two
    /// names, and needs no hashing.
    pub(super) fn of(&self, key: Key<'_>, hasher: &KeyHasher) -> u128 {
        match key {
            Key::User(user) if std::ptr::eq(user, &self.effect.user) => self.user,
            Key::Post(post) if std::ptr::eq(post, &self.effect.post) => self.post,
            other => hasher.key(other),
        }
    }
}
