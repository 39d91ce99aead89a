//! A Redis or a Redis Cluster, from which all parts are made.

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

/// A Redis or a Redis Cluster. Clones share the connections. A connection that breaks is opened
/// again.
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
    /// Does not connect: the first call does.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if the options are not valid.
    pub fn lazy(options: RedisOptions) -> Result<Self> {
        Ok(Redis { shared: Arc::new(Shared::new(options)?) })
    }

    /// Connects, and checks that the server is new enough and does not remove counters.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) if Redis cannot be reached.
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal) if it may evict counters, is too old, or rejects
    /// the user.
    pub async fn connect(options: RedisOptions) -> Result<Self> {
        let redis = Redis::lazy(options)?;
        redis.check().await?;
        Ok(redis)
    }

    /// Checks that Redis answers, or every master of a cluster, and that it does not remove
    /// counters. Readiness probes call it.
    pub async fn check(&self) -> Result<()> {
        self.shared.check(self.shared.options.response_timeout).await?;
        self.shared.connections.send("reaching Redis", redis::cmd("PING"), To::Masters).await.map(drop)
    }

    /// Returns the counters. Trending scores fade as in [`Trending::default`].
    pub fn counters(&self) -> RedisCounters {
        RedisCounters::new(self.shared.clone(), Trending::default())
    }

    /// Returns a limiter that all processes on this Redis share. A key may spend `limit` at once,
    /// and gets as much back over `period`.
    pub fn rate_limiter(&self, limit: NonZeroU32, period: Duration) -> Result<RedisRateLimiter> {
        RedisRateLimiter::new(self.shared.clone(), limit, period)
    }

    /// Returns the cache of answers.
    pub fn cache(&self) -> RedisCache {
        RedisCache::new(self.shared.clone())
    }
}
