//! Reading raised alerts: the contract [`Alerts`].

use async_trait::async_trait;

use crate::Result;
use crate::forward::forward;
use crate::notification::Notification;

/// Answers which alerts were raised. A gateway calls it.
///
/// # Contract
///
/// - Alerts come in the order in which they were written, newest first. Each comes with a number.
/// - Pages are complete and repeat nothing: a page that starts before the last number of the
///   previous page continues where that page ended, even if alerts were written in between.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the alerts cannot be read.
///
/// # Cancellation
///
/// The call only reads.
#[async_trait]
pub trait Alerts: Send + Sync + 'static {
    /// Returns at most `limit` alerts with numbers below `before`, newest first. Without `before`
    /// it starts with the newest alert.
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>>;
}

forward!(Alerts {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>>;
});
