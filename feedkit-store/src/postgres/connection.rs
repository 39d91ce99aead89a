//! Connections: taken from the pool, and closed unless what was done on them ended well.

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use feedkit_core::{Error, Result};

use super::failure::{Failure, Sql};
use super::options::PostgresOptions;
use super::tls;

/// Tries of a transaction that falls victim to others.
const TRIES: u32 = 5;

/// Maximum number of rows, or keys, that one statement sends. A connection keeps the room of the longest message
/// that it has sent, and a pool has several: messages stay below some hundred kilobytes.
pub(super) const STATEMENT_ROWS: usize = 4_000;

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
    /// A connection of the pool, on which each piece of work may take `deadline`.
    pub(super) fn new(object: Object, deadline: Duration) -> Session {
        Session { object: Some(object), deadline }
    }

    /// Lets each piece of work take `deadline` from now on.
    pub(super) fn allow(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

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
