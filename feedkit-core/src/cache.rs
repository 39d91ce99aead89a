//! Answers kept for a while, so that many readers cost one query.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
use crate::forward::forward;

/// Keeps answers by key.
///
/// # Contract
///
/// - [`get`](AnswerCache::get) gives the bytes that were last [`put`](AnswerCache::put) under this very key, or
///   nothing. It never gives them once their time is over.
/// - A cache may lose an answer at any time, and does so when it has no room.
/// - Keys are ASCII without spaces, at most 512 bytes. A backend that others use too sets a prefix of its own
///   before them.
///
/// # Errors
///
/// Any error is as good as a miss: whoever asks finds the answer elsewhere.
///
/// # Cancellation
///
/// A dropped `put` has happened or not, whole.
#[async_trait]
pub trait AnswerCache: Send + Sync + 'static {
    /// The answer kept under `key`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Keeps `answer` under `key` for `ttl`, instead of what is there.
    async fn put(&self, key: &str, answer: Bytes, ttl: Duration) -> Result<()>;
}

forward!(AnswerCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;
    async fn put(&self, key: &str, answer: Bytes, ttl: Duration) -> Result<()>;
});
