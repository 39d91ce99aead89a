//! A Redis, or a Redis Cluster, and what is made from it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::Result;
use feedkit_core::trending::Trending;

use super::cache::RedisCache;
use super::connection::To;
use super::counters::RedisCounters;
use super::limiter::RedisRateLimiter;
use super::options::RedisOptions;
use super::shared::Shared;

/// A Redis, or a Redis Cluster. Cheap to clone; connections come back by themselves.
///
/// ```no_run
/// # async fn example() -> feedkit_core::Result<()> {
/// use feedkit_store::redis::{Redis, RedisOptions};
///
/// let redis = Redis::connect(RedisOptions::single("redis://127.0.0.1/")).await?;
/// let counters = redis.counters();
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

impl Redis {
    /// Prepares to connect; the first call does.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): options that cannot be.
    pub fn lazy(options: RedisOptions) -> Result<Self> {
        Ok(Redis { shared: Arc::new(Shared::new(options)?) })
    }

    /// Connects, and checks that the server is one that keeps what it is given.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) while Redis is away; [`Fatal`](feedkit_core::ErrorKind::Fatal)
    /// when it may evict counters, is too old, or refuses the user.
    pub async fn connect(options: RedisOptions) -> Result<Self> {
        let redis = Redis::lazy(options)?;
        redis.check().await?;
        Ok(redis)
    }

    /// Whether Redis (of a cluster, every master) answers, and keeps what it is given: for readiness.
    pub async fn check(&self) -> Result<()> {
        self.shared.check(self.shared.options.response_timeout).await?;
        self.shared.connections.send("reaching Redis", redis::cmd("PING"), To::Masters).await.map(drop)
    }

    /// The counters, with likes fading as [`Trending::default`] says.
    pub fn counters(&self) -> RedisCounters {
        RedisCounters::new(self.shared.clone(), Trending::default())
    }

    /// A limiter that allows each key `limit` at once, and as many again over `period`, over all who share this
    /// Redis.
    pub fn rate_limiter(&self, limit: NonZeroU32, period: Duration) -> Result<RedisRateLimiter> {
        RedisRateLimiter::new(self.shared.clone(), limit, period)
    }

    /// The cache of answers.
    pub fn cache(&self) -> RedisCache {
        RedisCache::new(self.shared.clone())
    }
}
