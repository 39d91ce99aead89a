//! Publishing notifications: the contract [`Outbox`].

use async_trait::async_trait;

use crate::forward::forward;
use crate::lease::Lease;
use crate::notification::Notification;
use crate::{Positions, Result};

/// Hands out the notifications that were not published yet, and records which ones were. A relay
/// calls it.
///
/// An outbox gives no lease. A relay works beside the alert follower of its process, and marks rows
/// under the lease that the follower holds.
///
/// # Contract
///
/// - Rows are returned in the order in which they were written, until they are marked as published.
/// - A mark under a lease that is no longer valid is refused as
///   [`Fenced`](crate::ErrorKind::Fenced) and changes nothing.
/// - A mark moves the rows and the positions in one transaction.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the outbox is unavailable.
/// [`Uncertain`](crate::ErrorKind::Uncertain) from [`mark_published`](Outbox::mark_published): the
/// rows may have been marked. Marking them again is safe.
///
/// # Cancellation
///
/// A dropped mark is uncertain. The other calls only read.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Returns at most `limit` rows that were not marked yet, oldest first.
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>>;

    /// Marks all rows up to and including `seq` as published. `positions` are the ends of the
    /// notifications' log after these rows.
    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()>;

    /// Returns the positions of the last mark.
    async fn published(&self) -> Result<Positions>;
}

/// A notification to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Its place in the order of publication.
    pub seq: u64,
    /// What to publish.
    pub notification: Notification,
}

forward!(Outbox {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>>;
    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()>;
    async fn published(&self) -> Result<Positions>;
});
