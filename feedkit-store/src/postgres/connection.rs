//! Connections: taken from the pool, and closed unless the work on them ended well.

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use feedkit_core::{Error, Result};

use super::failure::{Failure, Sql};
use super::options::PostgresOptions;
use super::tls;

/// Maximum number of attempts at a transaction that conflicts with others.
const TRIES: u32 = 5;

/// Maximum number of rows, or keys, that one statement sends. Each connection of the pool keeps a
/// buffer of the size of its longest message, so messages stay below some hundred kilobytes.
pub(super) const STATEMENT_ROWS: usize = 4_000;

/// A connection. Only [`keep`](Session::keep) gives it back to the pool. After a failure, or when a
/// future was dropped half-way, it may be out of step with the server, and is closed.
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
    /// A connection of the pool, on which each piece of work may take `deadline`.
    pub(super) fn new(object: Object, deadline: Duration) -> Session {
        Session { object: Some(object), deadline }
    }

    /// Lets each piece of work take `deadline` from now on.
    pub(super) fn allow(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Gives the connection back to the pool. No statement may be running.
    pub(super) fn keep(mut self) {
        drop(self.object.take());
    }

    /// Runs `work` within the deadline. This also ends the wait for a connection that has gone
    /// silent, which the server's own time-outs cannot.
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

    /// Ends a transaction. `None` if it conflicted with others and should be tried again.
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

    /// Commits. After this was called, an error or a drop leaves the outcome unknown.
    pub(super) async fn commit(self) -> Result<()> {
        match tokio::time::timeout(self.deadline, self.batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.keep();
                Ok(())
            }
            Ok(Err(error)) => Err(Failure::of_commit(error)),
            Err(_) => Err(Error::uncertain("PostgreSQL did not answer whether a transaction was committed")),
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
            // Take it out of the pool and close it. The server rolls back an open transaction.
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
