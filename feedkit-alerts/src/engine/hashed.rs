use std::hash::{BuildHasher, Hasher, RandomState};

use feedkit_core::alert::Key;
use feedkit_core::effect::Effect;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Hashes names to 128 bits, with a seed of this installation's own so that nobody can choose names that fall
/// together.
///
/// What rules raise does not depend on the seed: states are told apart by the whole hash, and evicted in an order
/// that follows from use alone.
#[derive(Debug, Clone, Copy)]
pub struct KeyHasher {
    pub(crate) seed: u64,
}

/// An effect with the hashes of its names, made once and shared by all rules.
#[derive(Debug, Clone, Copy)]
pub struct HashedEffect<'a> {
    pub(crate) effect: &'a Effect,
    pub(crate) user: u128,
    pub(crate) post: u128,
}

impl KeyHasher {
    /// A hasher with a random seed.
    pub fn random() -> Self {
        // Each `RandomState` has random keys of its own.
        KeyHasher { seed: RandomState::new().build_hasher().finish() }
    }

    /// Hashes an effect's names.
    pub fn hash<'a>(&self, effect: &'a Effect) -> HashedEffect<'a> {
        HashedEffect { effect, user: self.user(effect.user.as_str()), post: self.post(effect.post.as_str()) }
    }

    pub(crate) fn key(&self, key: Key<'_>) -> u128 {
        match key {
            Key::User(user) => self.user(user.as_str()),
            Key::Post(post) => self.post(post.as_str()),
            Key::All => 0,
        }
    }

    fn user(&self, name: &str) -> u128 {
        xxh3_128_with_seed(name.as_bytes(), self.seed)
    }

    /// A user and a post of one name are two keys.
    fn post(&self, name: &str) -> u128 {
        xxh3_128_with_seed(name.as_bytes(), !self.seed)
    }
}

impl HashedEffect<'_> {
    /// The hash of a key that a rule chose for this effect: nearly always one of its own two names.
    pub(crate) fn of(&self, key: Key<'_>, hasher: &KeyHasher) -> u128 {
        match key {
            Key::User(user) if std::ptr::eq(user, &self.effect.user) => self.user,
            Key::Post(post) if std::ptr::eq(post, &self.effect.post) => self.post,
            other => hasher.key(other),
        }
    }
}
