//! A PostgreSQL database, connected.

use std::fmt;
use std::sync::Arc;

use feedkit_core::effect::LikePolicy;
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, Result};

use super::alert_log::PostgresAlertLog;
use super::database::{Database, reading};
use super::failure::damaged;
use super::history::PostgresHistory;
use super::notifier::Notifier;
use super::options::{PostgresOptions, RollupOptions};
use super::policy::Policy;
use super::rollups::PostgresRollups;
use super::shared::{Handle, Shared, Signal};
use super::{partition_tables, schema};

/// History, rollups and alert log in one database of PostgreSQL 14 or later. Clones share the connections.
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
    /// Connects and brings the schema up to date, with the time partitions of the days and months to come, or only
    /// checks it. `clock` says when followers note their positions.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) when the server cannot be reached or is starting;
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal) when it refuses the role or its certificate is not trusted, or the
    /// schema is not there, too old, or too new; [`Invalid`](feedkit_core::ErrorKind::Invalid) for a URL that cannot be.
    pub async fn connect(options: PostgresOptions, clock: Arc<dyn Clock>) -> Result<Postgres> {
        let mut database = Database::new(&options)?;
        schema::prepare(&database, options.migrate).await?;
        let seed = reading!(database, session => schema::meta(session, "like_seed").await)?;
        let seed = seed.as_deref().map(|text| u128::from_str_radix(text, 16));
        database.like_seed = match seed {
            Some(Ok(seed)) => (seed >> 64) as u64 ^ seed as u64,
            _ => return Err(damaged("like_seed is no number").context("meta")),
        };
        if options.migrate {
            partition_tables::make_ahead(&database, clock.now()).await?;
        }
        let shared = Shared { database, options, clock, committed: Signal::default() };
        let handle = Handle { shared: Arc::new(shared), policy: Policy::default() };
        Ok(Postgres { handle })
    }

    /// Counts likes by `likes` instead of one a user. It must be the same for the life of a history.
    pub fn with_like_policy(mut self, likes: LikePolicy) -> Self {
        self.handle.policy.likes = likes;
        self
    }

    /// How trending scores fade. It must be the same for the life of a history.
    pub fn with_trending(mut self, trending: Trending) -> Self {
        self.handle.policy.trending = trending;
        self
    }

    /// The history, and the answers from it.
    pub fn history(&self) -> PostgresHistory {
        PostgresHistory::new(&self.handle)
    }

    /// Answers from the history: the same as [`history`](Self::history).
    pub fn queries(&self) -> PostgresHistory {
        PostgresHistory::new(&self.handle)
    }

    /// The follower that keeps the totals and hourly sums, from which most answers come.
    pub fn rollups(&self) -> PostgresRollups {
        self.rollups_with(RollupOptions::default())
    }

    /// The same, with options of its own.
    pub fn rollups_with(&self, options: RollupOptions) -> PostgresRollups {
        PostgresRollups::new(&self.handle, options)
    }

    /// Where alerts are kept.
    pub fn alert_log(&self) -> PostgresAlertLog {
        PostgresAlertLog::new(&self.handle)
    }

    /// What tells other processes of this one's commits, and this one of theirs.
    pub fn notifier(&self) -> Notifier {
        Notifier::new(&self.handle)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) when it does not.
    pub async fn ping(&self) -> Result<()> {
        reading!(self.handle.database(), session => Ok(session.batch_execute("SELECT 1").await?))
    }

    /// Connections in use, and those that are open.
    pub fn connections(&self) -> (usize, usize) {
        self.handle.database().connections()
    }

    /// Lets all connections go. Calls that come later fail as [`Fatal`](feedkit_core::ErrorKind::Fatal).
    pub fn close(&self) {
        self.handle.database().close();
    }
}
