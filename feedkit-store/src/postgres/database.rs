//! Connections: taken from the pool, and closed unless what was done on them ended well.

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use feedkit_core::{Error, Result};
use tokio_postgres::NoTls;

use super::failure::{Failure, Sql};
use super::options::PostgresOptions;
use super::time_partition::Leaves;
use super::tls;

/// Tries of a transaction that falls victim to others.
const TRIES: u32 = 5;

/// Runs statements outside any transaction. (Macros, since async closures cannot be shown to be `Send`.)
macro_rules! reading {
    ($database:expr, $session:ident => $work:expr) => {{
        match $database.session().await {
            Ok(session) => {
                let $session = &session;
                let outcome = session.within(async { $work }).await;
                session.settle(outcome)
            }
            Err(error) => Err(error),
        }
    }};
}

/// Runs statements in a transaction, again when it falls victim to others. With a BEGIN of its own it is one that
/// takes long.
///
/// Its error is [`Uncertain`](feedkit_core::ErrorKind::Uncertain) when the COMMIT got no answer; with any other
/// nothing has changed.
macro_rules! transaction {
    ($database:expr, $session:ident => $work:expr) => {
        transaction!(@ $database, "BEGIN", false, $session => $work)
    };
    ($database:expr, $begin:expr, $session:ident => $work:expr) => {
        transaction!(@ $database, $begin, true, $session => $work)
    };
    (@ $database:expr, $begin:expr, $long:expr, $session:ident => $work:expr) => {{
        let mut tries = 0;
        loop {
            let session = match $database.begin($begin, $long).await {
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

/// The pool, and what is known of the database.
pub(super) struct Database {
    pool: Pool,
    statement_timeout: Duration,
    long_statement_timeout: Duration,
    /// The time partitions known to be there.
    pub(super) leaves: Leaves,
    /// Makes the keys of likes hard to guess from outside.
    pub(super) like_seed: u64,
}

impl Database {
    /// A pool, not connected yet, whose connections are set up by `options`.
    pub(super) fn new(options: &PostgresOptions) -> Result<Database> {
        let (config, connector) = config(options)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match connector {
            Some(connector) => Manager::from_config(config, connector, recycling),
            None => Manager::from_config(config, NoTls, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(options.pool_size.max(1))
            .wait_timeout(Some(options.pool_wait))
            .create_timeout(Some(options.connect_timeout.saturating_mul(2)))
            .recycle_timeout(Some(options.connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| Error::fatal(format!("PostgreSQL: the pool cannot be set up: {e}")))?;
        Ok(Database {
            pool,
            statement_timeout: options.statement_timeout,
            long_statement_timeout: options.long_statement_timeout,
            leaves: Leaves::default(),
            like_seed: 0,
        })
    }

    /// A connection, waited for if none is free.
    pub(super) async fn session(&self) -> Result<Session> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Failure::Sql(error).into(),
            PoolError::Timeout(TimeoutType::Wait) => {
                Error::retriable("PostgreSQL: all connections are in use; more wait than the pool can serve")
            }
            PoolError::Timeout(_) => Error::retriable("PostgreSQL: connecting takes too long"),
            PoolError::Closed => Error::fatal("PostgreSQL: the store is closed"),
            other => Error::fatal(format!("PostgreSQL: {other}")),
        })?;
        Ok(Session { object: Some(object), deadline: self.statement_timeout.saturating_mul(2) })
    }

    /// Begins a transaction; within the session's deadline, which is longer for one that takes long.
    pub(super) async fn begin(&self, begin: &str, long: bool) -> Result<Session> {
        let mut session = self.session().await?;
        let begun = if long {
            session.deadline = self.long_statement_timeout.saturating_mul(2);
            let begin = format!("{begin}; {}", self.long_limit());
            session.within(async { Ok(session.batch_execute(&begin).await?) }).await
        } else {
            session.within(async { Ok(session.batch_execute(begin).await?) }).await
        };
        begun?;
        Ok(session)
    }

    /// The statement that allows a transaction long statements.
    pub(super) fn long_limit(&self) -> String {
        format!("SET LOCAL statement_timeout = {}", self.long_statement_timeout.as_millis())
    }

    /// Connections in use, and those that are open.
    pub(super) fn connections(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size.saturating_sub(status.available), status.size)
    }

    /// Ends all connections that are free, and each other when it is given back.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection. It goes back to the pool only by [`keep`](Session::keep): one on which something failed or was
/// dropped half-way may be out of step with the server, and is closed.
pub(super) struct Session {
    object: Option<Object>,
    deadline: Duration,
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.object.as_ref().expect("it is taken only by keep and drop, which end the session")
    }
}

impl Session {
    /// Nothing is under way: the connection may be used again.
    pub(super) fn keep(mut self) {
        drop(self.object.take());
    }

    /// Bounds what the server's own time-outs cannot: a connection that says nothing any more.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Sql<T>>) -> Sql<T> {
        match tokio::time::timeout(self.deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Silent),
        }
    }

    /// Ends reads outside a transaction.
    pub(super) fn settle<T>(self, outcome: Sql<T>) -> Result<T> {
        let result = outcome?;
        self.keep();
        Ok(result)
    }

    /// Ends a transaction; `None` when it fell victim to others and is to be tried once more.
    pub(super) async fn end<T>(self, outcome: Sql<T>, tries: &mut u32) -> Option<Result<T>> {
        let failure = match outcome {
            Ok(result) => return Some(self.commit().await.map(|()| result)),
            Err(failure) => failure,
        };
        let again = failure.is_victim() || matches!(failure, Failure::Overtaken);
        self.give_up(&failure).await;
        *tries += 1;
        if again && *tries < TRIES { None } else { Some(Err(failure.into())) }
    }

    /// Commits. Once this was called, an error or a drop leaves the outcome unknown.
    pub(super) async fn commit(self) -> Result<()> {
        match tokio::time::timeout(self.deadline, self.batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.keep();
                Ok(())
            }
            Ok(Err(error)) => Err(Failure::of_commit(error)),
            Err(_) => Err(Error::uncertain("PostgreSQL does not say whether a transaction was committed")),
        }
    }

    /// Rolls back after a failure that left the connection in step; closes it after any other.
    pub(super) async fn give_up(self, failure: &Failure) {
        let in_step = matches!(failure, Failure::Feed(_) | Failure::Overtaken);
        if in_step && self.within(async { Ok(self.batch_execute("ROLLBACK").await?) }).await.is_ok() {
            self.keep();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            // Out of the pool, and closed: the server rolls back what was open.
            drop(Object::take(object));
        }
    }
}

/// The driver's options.
pub(super) fn config(
    options: &PostgresOptions,
) -> Result<(tokio_postgres::Config, Option<tokio_postgres_rustls::MakeRustlsConnect>)> {
    let mut config: tokio_postgres::Config =
        options.url.parse().map_err(|e: tokio_postgres::Error| Error::from(Failure::Sql(e)))?;
    if let Some(password) = &options.password {
        config.password(password);
    }
    let (mode, connector) = tls::connector(&options.tls)?;
    let millis = options.statement_timeout.as_millis();
    let parameters = format!(
        "{} -c statement_timeout={millis} -c idle_in_transaction_session_timeout={millis} \
         -c synchronous_commit=on -c timezone=UTC -c jit=off",
        config.get_options().unwrap_or_default()
    );
    config
        .ssl_mode(mode)
        .options(parameters.trim_start())
        .application_name(&options.application_name)
        .connect_timeout(options.connect_timeout)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(options.statement_timeout);
    Ok((config, connector))
}
