//! What an operator asks of the history.

use async_trait::async_trait;
use serde::Serialize;

use crate::forward::forward;
use crate::{Offset, Partition, Result, Timestamp};

/// Answers what an operator wants to know of a history: which records were rejected, and whether its totals are right.
///
/// # Contract
///
/// - Every answer reflects whole commits only.
/// - Rejected records are complete and repeat nothing when they are paged by their places while nothing is written.
/// - [`verify`](Inspect::verify) compares all totals with the raw events. It changes nothing.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the history cannot be reached.
///
/// # Cancellation
///
/// All calls only read.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// Returns at most `limit` records that were no events, by partition and offset, those after `after`.
    async fn rejected(&self, after: Option<(Partition, Offset)>, limit: usize)
    -> Result<Vec<RejectedRecord>>;

    /// Recounts everything from the raw events, and returns what differs, in words.
    async fn verify(&self) -> Result<Verification>;
}

/// A record that was no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedRecord {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its time in the log.
    pub time: Timestamp,
    /// The sort of fault.
    pub reason: String,
    /// The field at fault.
    pub field: Option<String>,
    /// What is wrong.
    pub detail: String,
    /// Its first bytes; what is not UTF-8 is replaced.
    pub value: String,
    /// How many bytes it had.
    pub size: u64,
}

/// The result of [`Inspect::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Raw events recounted.
    pub events: u64,
    /// Posts compared.
    pub posts: u64,
    /// What differs; the first hundred.
    pub differences: Vec<String>,
    /// How much differs in all.
    pub difference_count: u64,
}

forward!(Inspect {
    async fn rejected(
        &self,
        after: Option<(Partition, Offset)>,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>>;
    async fn verify(&self) -> Result<Verification>;
});
