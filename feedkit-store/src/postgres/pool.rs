//! The pool of connections, and how work runs on one of them.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, PoolError, RecyclingMethod, Runtime, TimeoutType};
use feedkit_core::{Error, Result};
use tokio_postgres::NoTls;

use super::connection::{Session, config};
use super::failure::Failure;
use super::options::PostgresOptions;

/// Runs statements outside a transaction. (This is a macro because Rust cannot show that an async
/// closure is `Send`.)
macro_rules! reading {
    ($pool:expr, $session:ident => $work:expr) => {{
        match $pool.session().await {
            Ok(session) => {
                let $session = &session;
                let outcome = session.within(async { $work }).await;
                session.settle(outcome)
            }
            Err(error) => Err(error),
        }
    }};
}

/// Runs statements in a transaction, and repeats it if it conflicts with others. With a BEGIN of
/// its own it is a long transaction.
///
/// The error is [`Uncertain`](feedkit_core::ErrorKind::Uncertain) if the COMMIT got no answer.
/// After any other error nothing has changed.
macro_rules! transaction {
    ($pool:expr, $session:ident => $work:expr) => {
        transaction!(@ $pool, "BEGIN", false, $session => $work)
    };
    ($pool:expr, $begin:expr, $session:ident => $work:expr) => {
        transaction!(@ $pool, $begin, true, $session => $work)
    };
    (@ $pool:expr, $begin:expr, $long:expr, $session:ident => $work:expr) => {{
        let mut tries = 0;
        loop {
            let session = match $pool.begin($begin, $long).await {
                Ok(session) => session,
                Err(error) => break Err(error),
            };
            let $session = &session;
            let outcome = session.within(async { $work }).await;
            if let Some(result) = session.end(outcome, &mut tries).await {
                break result;
            }
        }
    }};
}

pub(super) use {reading, transaction};

/// The pool of connections. It connects when a connection is taken.
pub(super) struct Pool {
    pool: deadpool_postgres::Pool,
    statement_timeout: Duration,
    long_statement_timeout: Duration,
}

impl Pool {
    /// A pool whose connections are set up by `options`. It does not connect yet.
    pub(super) fn new(options: &PostgresOptions) -> Result<Pool> {
        let (config, connector) = config(options)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match connector {
            Some(connector) => Manager::from_config(config, connector, recycling),
            None => Manager::from_config(config, NoTls, recycling),
        };
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(options.pool_size.max(1))
            .wait_timeout(Some(options.pool_wait))
            .create_timeout(Some(options.connect_timeout.saturating_mul(2)))
            .recycle_timeout(Some(options.connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| Error::fatal(format!("PostgreSQL: cannot set up the connection pool: {e}")))?;
        Ok(Pool {
            pool,
            statement_timeout: options.statement_timeout,
            long_statement_timeout: options.long_statement_timeout,
        })
    }

    /// Takes a connection from the pool. Waits if none is free.
    pub(super) async fn session(&self) -> Result<Session> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Failure::Sql(error).into(),
            PoolError::Timeout(TimeoutType::Wait) => {
                Error::retriable("PostgreSQL: all connections of the pool are in use")
            }
            PoolError::Timeout(_) => Error::retriable("PostgreSQL: connecting took too long"),
            PoolError::Closed => Error::fatal("PostgreSQL: the store is closed"),
            other => Error::fatal(format!("PostgreSQL: {other}")),
        })?;
        Ok(Session::new(object, self.statement_timeout.saturating_mul(2)))
    }

    /// Begins a transaction. A `long` one gets a longer deadline.
    pub(super) async fn begin(&self, begin: &str, long: bool) -> Result<Session> {
        let mut session = self.session().await?;
        let begun = if long {
            session.allow(self.long_statement_timeout.saturating_mul(2));
            let begin = format!("{begin}; {}", self.long_limit());
            session.within(async { Ok(session.batch_execute(&begin).await?) }).await
        } else {
            session.within(async { Ok(session.batch_execute(begin).await?) }).await
        };
        begun?;
        Ok(session)
    }

    /// The statement that allows long statements in a transaction.
    pub(super) fn long_limit(&self) -> String {
        format!("SET LOCAL statement_timeout = {}", self.long_statement_timeout.as_millis())
    }

    /// The number of connections in use, and of open connections.
    pub(super) fn connections(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size.saturating_sub(status.available), status.size)
    }

    /// Closes all connections that are free, and the others when they are given back.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}
