use std::fmt;
use std::time::Duration;

use feedkit_core::{Error, Result};

/// Where Redis is, and how it is asked.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// One URL of a single Redis, or those of some nodes of a cluster: `redis://user:password@host:port/database`,
    /// or `rediss://` for TLS. All nodes of a cluster take the same user and password.
    pub urls: Vec<String>,
    /// The user's password, instead of one in the URLs.
    pub password: Option<String>,
    /// Whether this is a Redis Cluster.
    pub cluster: bool,
    /// Certificates in PEM form that vouch for the server's; without it those of the operating system do.
    pub tls_ca: Option<Vec<u8>>,
    /// How long an answer may take, tries over a new connection included. Afterwards the call fails as
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable); what was sent may still be done, which does no harm to
    /// the counters. It has to be longer than the longest script: counting a chunk of 1,000 takes milliseconds.
    pub response_timeout: Duration,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// Connections to a single Redis; each carries any number of calls at once. A cluster has one a node.
    pub connections: usize,
    /// Put before all keys, for tests that share a Redis. Empty in production: the names are part of what is
    /// seen from outside.
    pub prefix: String,
    /// For how long another process's rebuild of the counters is left alone after its last sign of life. Without
    /// such a time several processes that all find the counters gone would interrupt each other for ever.
    pub rebuild_patience: Duration,
}

impl RedisOptions {
    /// The settings of a single Redis at `url`.
    pub fn single(url: impl Into<String>) -> Self {
        RedisOptions {
            urls: vec![url.into()],
            password: None,
            cluster: false,
            tls_ca: None,
            response_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(2),
            connections: 2,
            prefix: String::new(),
            rebuild_patience: Duration::from_secs(5),
        }
    }

    /// The settings of a cluster, of which `urls` are some nodes.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        RedisOptions { urls, cluster: true, ..RedisOptions::single("") }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.urls.is_empty() || (!self.cluster && self.urls.len() > 1) {
            return Err(Error::invalid(format!(
                "redis: {} URLs are given; a single Redis has one, a cluster at least one",
                self.urls.len()
            )));
        }
        if self.connections == 0 || self.response_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(Error::invalid("redis: connections and time-outs have to be above zero"));
        }
        if !self.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(&b)) {
            return Err(Error::invalid(format!(
                "redis: a key prefix has letters, digits and : . _ - only, not {:?}",
                self.prefix
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for RedisOptions {
    /// Without the URLs, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("urls", &self.urls.len())
            .field("cluster", &self.cluster)
            .field("tls_ca", &self.tls_ca.is_some())
            .field("response_timeout", &self.response_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("connections", &self.connections)
            .field("prefix", &self.prefix)
            .field("rebuild_patience", &self.rebuild_patience)
            .finish()
    }
}
