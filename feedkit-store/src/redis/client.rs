use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::trending::Trending;
use feedkit_core::{Error, Partition, Result};
use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::OnceCell;

use super::cache::RedisCache;
use super::cluster::View;
use super::connection::{Connections, To};
use super::counters::RedisCounters;
use super::keys::Keyspace;
use super::limiter::RedisRateLimiter;
use super::options::RedisOptions;
use super::policy;
use super::rebuild::Session;
use super::script::Script;

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

/// What all parts use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RedisOptions,
    pub(super) keys: Keyspace,
    connections: Connections,
    /// Set when the server was found to be one that keeps what it is given.
    checked: OnceCell<()>,
    /// Tells this program's rebuilds from those of others.
    pub(super) owner: String,
    /// The rebuild that this program runs.
    pub(super) rebuild: Mutex<Option<Session>>,
    /// How far a cluster's shards have counted, as last seen, by partition.
    pub(super) views: Mutex<HashMap<Partition, View>>,
}

impl Redis {
    /// Prepares to connect; the first call does.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): options that cannot be.
    pub fn lazy(options: RedisOptions) -> Result<Self> {
        let shared = Shared {
            connections: Connections::new(&options)?,
            keys: Keyspace::new(&options.prefix, options.cluster),
            options,
            checked: OnceCell::new(),
            // The keys of a hasher are random.
            owner: format!("{:016x}", std::hash::RandomState::new().build_hasher().finish()),
            rebuild: Mutex::default(),
            views: Mutex::default(),
        };
        Ok(Redis { shared: Arc::new(shared) })
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

impl Shared {
    /// Looks at the server once.
    async fn check(&self, deadline: Duration) -> Result<()> {
        if self.checked.initialized() {
            return Ok(());
        }
        let look =
            self.checked.get_or_try_init(|| policy::check(&self.connections, self.options.cluster, deadline));
        // Another who looks may have more patience.
        match tokio::time::timeout(2 * deadline, look).await {
            Ok(looked) => looked.map(drop),
            Err(_) => Err(Error::retriable("looking at Redis: it does not answer in time")),
        }
    }

    /// Sends a command to the server that has `key`.
    pub(super) async fn send(&self, doing: &str, command: Cmd, key: &str) -> Result<Value> {
        self.check(self.options.response_timeout).await?;
        self.connections.send(doing, command, To::Key(key)).await
    }

    /// Runs a script on the server that has `key`.
    pub(super) async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value> {
        self.run_within(script, key, self.options.response_timeout, arguments).await
    }

    /// The same, waiting no longer than `deadline` for an answer.
    pub(super) async fn run_within(
        &self,
        script: &Script,
        key: &str,
        deadline: Duration,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value> {
        self.check(deadline).await?;
        script.run(&self.connections, key, deadline, arguments).await
    }
}
