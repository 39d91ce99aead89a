//! How to connect to PostgreSQL, and how to use it.

use std::fmt;
use std::time::Duration;

/// How to connect to PostgreSQL, and how to use it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The URL, `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `host=… user=…`. It may have
    /// several hosts; with `target_session_attrs=read-write`, the host that accepts writes is
    /// chosen.
    pub url: String,
    /// The password, if it is not in the URL.
    pub password: Option<String>,
    /// The name of the connections in `pg_stat_activity`.
    pub application_name: String,
    /// Maximum number of connections. Each running commit holds one, and so does each open
    /// snapshot.
    pub pool_size: usize,
    /// How long a call waits for a free connection before it fails as
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable).
    pub pool_wait: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server works on one statement before it cancels it. The server also ends a
    /// transaction whose client is silent for this long, so that a lost process does not hold
    /// locks.
    pub statement_timeout: Duration,
    /// How long a statement of a recount, a rebuild or retention may take. They read whole tables.
    pub long_statement_timeout: Duration,
    /// Encryption.
    pub tls: TlsOptions,
    /// Whether connecting updates the schema, which only its owner may do. Otherwise the schema is
    /// only checked.
    ///
    /// Reading then needs only SELECT on the tables. Writing also needs INSERT, UPDATE and DELETE,
    /// and EXECUTE on `feedkit_add_events_month` and `feedkit_add_journal_day`. These functions add
    /// time partitions with their owner's rights; ALTER DEFAULT PRIVILEGES gives the rights on the
    /// new tables. Retention drops tables, so it needs the owner.
    pub migrate: bool,
}

impl PostgresOptions {
    /// The defaults: 16 connections, 5 s to wait for one, 5 s to connect, 30 s for a statement, an
    /// hour for a long one, no encryption, and updating the schema.
    pub fn new(url: impl Into<String>) -> Self {
        PostgresOptions {
            url: url.into(),
            password: None,
            application_name: "feedkit".to_owned(),
            pool_size: 16,
            pool_wait: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            long_statement_timeout: Duration::from_secs(3600),
            tls: TlsOptions::default(),
            migrate: true,
        }
    }
}

impl fmt::Debug for PostgresOptions {
    /// Leaves out the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("application_name", &self.application_name)
            .field("pool_size", &self.pool_size)
            .field("tls", &self.tls.mode)
            .field("migrate", &self.migrate)
            .finish_non_exhaustive()
    }
}

/// Whether connections are encrypted, and which authorities they trust.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whether connections are encrypted.
    pub mode: TlsMode,
    /// The certificates of the trusted authorities, in PEM form. With them, the server's
    /// certificate and name are checked.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").field("mode", &self.mode).field("ca", &self.ca.is_some()).finish()
    }
}

/// Whether connections are encrypted. It overrides `sslmode` in the URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsMode {
    /// Connections are never encrypted.
    #[default]
    Off,
    /// Connections are encrypted if the server offers it. Without trusted authorities, nothing is
    /// checked, which protects only against eavesdroppers.
    Prefer,
    /// Connections are always encrypted, and the server's certificate is checked. This needs
    /// [`TlsOptions::ca`].
    Require,
}

/// When to write rollups, and how to rebuild them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RollupOptions {
    /// Maximum number of effects to hold, over all partitions. Writing many at once costs little
    /// more than writing few, because they touch the same posts.
    pub max_held: usize,
    /// How long to hold the first effect. If writing is slow, it is held longer, up to a second, so
    /// that writing takes at most a fifth of the time. The more effects are written at once, the
    /// less each of them costs.
    pub linger: Duration,
    /// About how many rows one transaction of a rebuild sums up.
    pub rebuild_rows: usize,
}

impl Default for RollupOptions {
    /// 50,000 effects; 100 ms; 50,000 rows.
    fn default() -> Self {
        RollupOptions { max_held: 50_000, linger: Duration::from_millis(100), rebuild_rows: 50_000 }
    }
}
