//! A PostgreSQL database, from which all parts are made.

use std::fmt;
use std::sync::Arc;

use feedkit_core::effect::LikePolicy;
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, Result};

use super::alert_log::PostgresAlertLog;
use super::database::Database;
use super::history::PostgresHistory;
use super::notifier::Notifier;
use super::options::{PostgresOptions, RollupOptions};
use super::policy::Policy;
use super::pool::reading;
use super::rollups::PostgresRollups;
use super::shared::{Handle, Shared, Signal};

/// History, rollups and alert log in one database of PostgreSQL 14 or later. Clones share the
/// connections.
///
/// ```no_run
/// use std::sync::Arc;
/// use feedkit_core::SystemClock;
/// use feedkit_store::postgres::{Postgres, PostgresOptions};
///
/// # async fn run() -> feedkit_core::Result<()> {
/// let options = PostgresOptions::new("postgres://feedkit@localhost/feedkit");
/// let store = Postgres::connect(options, Arc::new(SystemClock)).await?;
/// let (history, rollups, alerts) = (store.history(), store.rollups(), store.alert_log());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Postgres {
    handle: Handle,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("options", &self.handle.shared.options).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Prepares to connect. The first call connects, and updates the schema and makes the time
    /// partitions of the next days and months, or only checks the schema. If that fails, the call
    /// fails with an error of [`connect`](Self::connect), and the next call tries again. `clock`
    /// gives the time at which followers note their positions.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if the URL or the certificates are not valid.
    pub fn lazy(options: PostgresOptions, clock: Arc<dyn Clock>) -> Result<Postgres> {
        let database = Database::new(&options, Arc::clone(&clock))?;
        let shared = Shared { database, options, clock, committed: Signal::default() };
        let handle = Handle { shared: Arc::new(shared), policy: Policy::default() };
        Ok(Postgres { handle })
    }

    /// Connects, and updates the schema and makes the time partitions of the next days and months,
    /// or only checks the schema. `clock` gives the time at which followers note their positions.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) if the server cannot be reached or is
    /// starting. [`Fatal`](feedkit_core::ErrorKind::Fatal) if it refuses the role, if its
    /// certificate is not trusted, or if the schema is missing, too old or too new.
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if the URL is not valid.
    pub async fn connect(options: PostgresOptions, clock: Arc<dyn Clock>) -> Result<Postgres> {
        let postgres = Postgres::lazy(options, clock)?;
        postgres.handle.database().prepare().await?;
        Ok(postgres)
    }

    /// Counts likes by `likes` instead of one for each user. It must stay the same for the life of
    /// a history.
    pub fn with_like_policy(mut self, likes: LikePolicy) -> Self {
        self.handle.policy.likes = likes;
        self
    }

    /// Sets how trending scores fade. It must stay the same for the life of a history.
    pub fn with_trending(mut self, trending: Trending) -> Self {
        self.handle.policy.trending = trending;
        self
    }

    /// Returns the history, which also answers queries.
    pub fn history(&self) -> PostgresHistory {
        PostgresHistory::new(&self.handle)
    }

    /// Returns the follower that keeps the totals and hourly sums. Most answers come from these.
    pub fn rollups(&self) -> PostgresRollups {
        self.rollups_with(RollupOptions::default())
    }

    /// Returns the rollups with these options.
    pub fn rollups_with(&self, options: RollupOptions) -> PostgresRollups {
        PostgresRollups::new(&self.handle, options)
    }

    /// Returns the alert log.
    pub fn alert_log(&self) -> PostgresAlertLog {
        PostgresAlertLog::new(&self.handle)
    }

    /// Returns the notifier, which tells other processes about the commits of this one, and this
    /// one about theirs.
    pub fn notifier(&self) -> Notifier {
        Notifier::new(&self.handle)
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) if it does not.
    pub async fn ping(&self) -> Result<()> {
        reading!(self.handle.database(), session => Ok(session.batch_execute("SELECT 1").await?))
    }

    /// Returns the number of connections in use, and of open connections.
    pub fn connections(&self) -> (usize, usize) {
        self.handle.database().connections()
    }

    /// Closes all connections. Later calls fail as [`Fatal`](feedkit_core::ErrorKind::Fatal).
    pub fn close(&self) {
        self.handle.database().close();
    }
}
