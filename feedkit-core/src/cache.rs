//! A cache of answers: the contract [`AnswerCache`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
use crate::forward::forward;

/// Caches answers by key, so that many readers cause one query.
///
/// # Contract
///
/// - [`get`](AnswerCache::get) returns the bytes of the last [`put`](AnswerCache::put) under
///   exactly this key, or nothing. It never returns them after their time to live has passed.
/// - A cache may lose an answer at any time, and does so when it is full.
/// - Keys are ASCII without spaces, and have at most 512 bytes. A backend that others share adds a
///   prefix of its own to each key.
///
/// # Errors
///
/// The caller treats every error like a miss.
///
/// # Cancellation
///
/// A dropped `put` has happened or not, as a whole.
#[async_trait]
pub trait AnswerCache: Send + Sync + 'static {
    /// Returns the answer under `key`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Stores `answer` under `key` for `ttl`, and replaces the previous answer.
    async fn put(&self, key: &str, answer: Bytes, ttl: Duration) -> Result<()>;
}

forward!(AnswerCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;
    async fn put(&self, key: &str, answer: Bytes, ttl: Duration) -> Result<()>;
});
