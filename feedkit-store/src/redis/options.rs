//! Where Redis is, and how calls to it behave.

use std::fmt;
use std::time::Duration;

use feedkit_core::{Error, Result};

/// Where Redis is, and how calls to it behave.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// The URL of a single Redis, or the URLs of some nodes of a cluster:
    /// `redis://user:password@host:port/database`, or `rediss://` for TLS. All nodes of a cluster
    /// must accept the same user and password.
    pub urls: Vec<String>,
    /// The user's password, if it is not in the URLs.
    pub password: Option<String>,
    /// Whether this is a Redis Cluster.
    pub cluster: bool,
    /// The certificates, in PEM form, of the authorities that are trusted. Without it, those of the
    /// operating system are.
    pub tls_ca: Option<Vec<u8>>,
    /// How long an answer may take, including attempts over a new connection. After that the call
    /// fails as [`Retriable`](feedkit_core::ErrorKind::Retriable). Redis may still run the command,
    /// which does no harm to the counters. This must be longer than the longest script: counting a
    /// chunk of 1,000 deltas takes milliseconds.
    pub response_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The number of connections to a single Redis. Each carries any number of calls at once. A
    /// cluster has one connection for each node.
    pub connections: usize,
    /// A prefix of all keys, for tests that share a Redis. Leave it empty in production, because
    /// other programs read keys by their names.
    pub prefix: String,
    /// How long a process waits for another process's rebuild of the counters after its last sign
    /// of life. Without this wait, processes that all find the counters gone would interrupt each
    /// other for ever.
    pub rebuild_patience: Duration,
}

impl RedisOptions {
    /// The options of a single Redis at `url`.
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

    /// The options of a cluster that has nodes at `urls`.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        RedisOptions { urls, cluster: true, ..RedisOptions::single("") }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.urls.is_empty() || (!self.cluster && self.urls.len() > 1) {
            return Err(Error::invalid(format!(
                "redis: there are {} URLs; a single Redis needs one, and a cluster at least one",
                self.urls.len()
            )));
        }
        if self.connections == 0 || self.response_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(Error::invalid("redis: connections and time-outs must be greater than zero"));
        }
        if !self.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(&b)) {
            return Err(Error::invalid(format!(
                "redis: a key prefix may contain only letters, digits and : . _ -, but it is {:?}",
                self.prefix
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for RedisOptions {
    /// Leaves out the URLs, which may contain passwords.
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
