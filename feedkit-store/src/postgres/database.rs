//! The database: its connections, once its schema is prepared, and what this process knows of it.

use std::sync::Arc;

use feedkit_core::{Clock, Result, Timestamp};
use tokio::sync::OnceCell;

use super::connection::Session;
use super::failure::damaged;
use super::options::PostgresOptions;
use super::pool::{Pool, reading};
use super::time_partition::{TimePartition, TimePartitions};
use super::{partition_tables, schema};

/// A database whose schema is prepared before the first connection is handed out.
pub(super) struct Database {
    pool: Pool,
    /// Whether preparing updates the schema, or only checks it.
    migrate: bool,
    clock: Arc<dyn Clock>,
    /// The time partitions that are known to exist.
    leaves: TimePartitions,
    prepared: OnceCell<Prepared>,
}

/// What a prepared schema tells.
struct Prepared {
    like_seed: u64,
}

impl Database {
    /// A database that is used as `options` say. It does not connect yet.
    pub(super) fn new(options: &PostgresOptions, clock: Arc<dyn Clock>) -> Result<Database> {
        Ok(Database {
            pool: Pool::new(options)?,
            migrate: options.migrate,
            clock,
            leaves: TimePartitions::default(),
            prepared: OnceCell::new(),
        })
    }

    /// Prepares the schema, unless a call has done so before. If it fails, the next call tries
    /// again.
    pub(super) async fn prepare(&self) -> Result<()> {
        self.prepared().await.map(drop)
    }

    /// Takes a connection from the pool. Waits if none is free.
    pub(super) async fn session(&self) -> Result<Session> {
        self.prepare().await?;
        self.pool.session().await
    }

    /// Begins a transaction. A `long` one gets a longer deadline.
    pub(super) async fn begin(&self, begin: &str, long: bool) -> Result<Session> {
        self.prepare().await?;
        self.pool.begin(begin, long).await
    }

    /// The seed of the likes' keys, so that nobody outside can guess them.
    pub(super) async fn like_seed(&self) -> Result<u64> {
        Ok(self.prepared().await?.like_seed)
    }

    /// Makes the tables of those `leaves` that do not exist yet.
    pub(super) async fn ensure(&self, leaves: &[TimePartition]) -> Result<()> {
        self.prepare().await?;
        partition_tables::ensure(&self.pool, &self.leaves, leaves).await
    }

    /// Makes the tables of the next days and months.
    pub(super) async fn make_ahead(&self, now: Timestamp) -> Result<()> {
        self.prepare().await?;
        partition_tables::make_ahead(&self.pool, &self.leaves, now).await
    }

    /// Forgets which time partitions exist. Call it after some were dropped.
    pub(super) fn forget_leaves(&self) {
        self.leaves.forget();
    }

    /// The statement that allows long statements in a transaction.
    pub(super) fn long_limit(&self) -> String {
        self.pool.long_limit()
    }

    /// The number of connections in use, and of open connections.
    pub(super) fn connections(&self) -> (usize, usize) {
        self.pool.connections()
    }

    /// Closes all connections that are free, and the others when they are given back.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    async fn prepared(&self) -> Result<&Prepared> {
        self.prepared.get_or_try_init(|| self.look()).await
    }

    async fn look(&self) -> Result<Prepared> {
        schema::prepare(&self.pool, self.migrate).await?;
        let seed = reading!(self.pool, session => schema::meta(session, "like_seed").await)?;
        let seed = seed.as_deref().map(|text| u128::from_str_radix(text, 16));
        let Some(Ok(seed)) = seed else {
            return Err(damaged("like_seed is not a number").context("meta"));
        };
        if self.migrate {
            partition_tables::make_ahead(&self.pool, &self.leaves, self.clock.now()).await?;
        }
        Ok(Prepared { like_seed: (seed >> 64) as u64 ^ seed as u64 })
    }
}
