//! The time-out around each call of a backend.

use std::future::Future;
use std::time::Duration;

use feedkit_core::{Error, Result};
use tokio::time::timeout;

/// Awaits `call` for at most `limit`. `whose` names the backend in the error.
///
/// # Errors
///
/// The call's own errors, and [`Retriable`](feedkit_core::ErrorKind::Retriable) when the time is
/// up.
pub(crate) async fn in_time<T>(
    limit: Duration,
    whose: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    match timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::retriable(format!("{whose} did not answer within {limit:?}"))),
    }
}
