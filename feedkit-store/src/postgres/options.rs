//! How PostgreSQL is reached and used.

use std::fmt;
use std::time::Duration;

/// How PostgreSQL is reached and used.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or `host=… user=…`. Several hosts may be given; with
    /// `target_session_attrs=read-write` the one that takes writes is chosen.
    pub url: String,
    /// The password, instead of one in the URL.
    pub password: Option<String>,
    /// What the connections are called in `pg_stat_activity`.
    pub application_name: String,
    /// Most connections at a time. Each commit under way holds one, and so does each open snapshot.
    pub pool_size: usize,
    /// How long a call waits for a free connection before it fails as
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable).
    pub pool_wait: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server works on one statement before it gives up. The server ends a transaction whose client
    /// says nothing for as long, so that a lost process holds no lock for longer.
    pub statement_timeout: Duration,
    /// The same for recounts, rebuilds and retention, which read whole tables.
    pub long_statement_timeout: Duration,
    /// Encryption.
    pub tls: TlsOptions,
    /// Whether connecting brings the schema up to date, which needs its owner. Without it the schema is only checked.
    /// Then reading needs no more than SELECT on its tables. Writing needs INSERT, UPDATE and DELETE too, and EXECUTE
    /// on `feedkit_add_events_month` and `feedkit_add_journal_day`, which add time partitions with their owner's
    /// rights; the new ones' rights come from ALTER DEFAULT PRIVILEGES. Retention, which drops them, needs the owner.
    pub migrate: bool,
}

impl PostgresOptions {
    /// The defaults: 16 connections, 5 s to wait for one, 5 s to connect, 30 s a statement, an hour for the long
    /// ones, no encryption, migrate.
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
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("application_name", &self.application_name)
            .field("pool_size", &self.pool_size)
            .field("tls", &self.tls.mode)
            .field("migrate", &self.migrate)
            .finish_non_exhaustive()
    }
}

/// Whether connections are encrypted, and whom they trust.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whether.
    pub mode: TlsMode,
    /// Certificates of the authorities trusted, as PEM. With them the server's certificate and name are checked.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").field("mode", &self.mode).field("ca", &self.ca.is_some()).finish()
    }
}

/// Whether connections are encrypted. It stands over `sslmode` in the URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsMode {
    /// Never.
    #[default]
    Off,
    /// If the server offers it. Without authorities to trust nothing is checked, which protects against listeners
    /// only.
    Prefer,
    /// Always, and the server's certificate is checked; needs [`TlsOptions::ca`].
    Require,
}

/// When rollups are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RollupOptions {
    /// Effects held at most, over all partitions. Many at once cost little more than few: they touch the same posts.
    pub max_held: usize,
    /// How long the first effect held waits for others. It waits longer, up to a second, where writing takes long:
    /// rollups are to take a fifth of the time at most, and the more are written at once the less each costs.
    pub linger: Duration,
}

impl Default for RollupOptions {
    /// 50,000 effects; 100 ms.
    fn default() -> Self {
        RollupOptions { max_held: 50_000, linger: Duration::from_millis(100) }
    }
}
