//! Waiting for a service that is away at the start.

use feedkit_core::pipeline::Backoff;
use feedkit_core::{Error, Result};
use tokio_util::sync::CancellationToken;

/// Calls `attempt` until it succeeds, and waits longer after each failure: servers and the services
/// that they need are often started together. An attempt must be safe to repeat, also when its
/// outcome is not known. `what` names the service in the log, as in `waiting for PostgreSQL`.
///
/// # Errors
///
/// Returns an error at once if it is not temporary, and when `stop` is cancelled.
///
/// # Cancellation
///
/// Drops the current attempt.
pub async fn patiently<T>(
    what: &str,
    stop: &CancellationToken,
    attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    tokio::select! {
        () = stop.cancelled() => Err(Error::fatal(format!("stopped while waiting for {what}"))),
        outcome = until_it_works(what, attempt) => outcome,
    }
}

async fn until_it_works<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut waits = Backoff::default().waits();
    let mut waited = false;
    loop {
        match attempt().await {
            Ok(done) => {
                if waited {
                    tracing::info!("{what} is there");
                }
                return Ok(done);
            }
            Err(error) if error.kind().may_pass() => {
                tracing::warn!(%error, "waiting for {what}");
                waited = true;
                waits.sleep().await;
            }
            Err(error) => return Err(error.context(what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_passes_is_waited_for_and_what_does_not_is_told() {
        let stop = CancellationToken::new();
        let mut tries = 0;
        let outcome = patiently("the store", &stop, async || {
            tries += 1;
            match tries {
                1 => Err(Error::retriable("away")),
                // The connection broke while the schema was being committed.
                2 => Err(Error::uncertain("no answer to COMMIT")),
                _ => Ok(tries),
            }
        });
        assert_eq!(outcome.await.unwrap(), 3);
        let refused =
            patiently("the store", &stop, async || Err::<(), _>(Error::fatal("no such user"))).await;
        assert_eq!(refused.unwrap_err().to_string(), "the store: no such user");
    }

    #[tokio::test]
    async fn it_can_be_stopped() {
        let stop = CancellationToken::new();
        stop.cancel();
        let never = patiently("the store", &stop, async || Err::<(), _>(Error::retriable("away")));
        assert!(never.await.unwrap_err().to_string().contains("stopped"));
    }
}
