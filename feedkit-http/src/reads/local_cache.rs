//! A cache of answers in this process.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;

use feedkit_core::{AnswerCache, Result};

/// Caches answers in this process, up to a number of bytes. It evicts the least used answers first.
#[derive(Clone)]
pub struct LocalCache(Cache<String, Kept>);

#[derive(Clone)]
struct Kept {
    answer: Bytes,
    ttl: Duration,
}

impl LocalCache {
    /// A cache of at most about `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        // The approximate overhead of an entry.
        const ENTRY: usize = 128;
        let weight = |key: &String, kept: &Kept| {
            u32::try_from(ENTRY + key.len() + kept.answer.len()).unwrap_or(u32::MAX)
        };
        LocalCache(Cache::builder().max_capacity(max_bytes).weigher(weight).expire_after(ByEntry).build())
    }
}

impl Default for LocalCache {
    /// 16 MiB.
    fn default() -> Self {
        LocalCache::new(16 * 1024 * 1024)
    }
}

/// Each entry has its own time to live.
struct ByEntry;

impl Expiry<String, Kept> for ByEntry {
    fn expire_after_create(&self, _: &String, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(
        &self,
        _: &String,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.ttl)
    }
}

#[async_trait]
impl AnswerCache for LocalCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).await.map(|kept| kept.answer))
    }

    async fn put(&self, key: &str, answer: Bytes, ttl: Duration) -> Result<()> {
        self.0.insert(key.to_owned(), Kept { answer, ttl }).await;
        Ok(())
    }
}
