//! Queries of operators: the contract [`Inspect`].

use async_trait::async_trait;
use serde::Serialize;

use crate::forward::forward;
use crate::{Offset, Partition, Result, Timestamp};

/// Answers the queries of operators about a history: which records were rejected, and whether the
/// totals are correct.
///
/// # Contract
///
/// - Every answer includes whole commits only.
/// - Pages of rejected records are complete and contain no record twice, if nothing is written
///   meanwhile.
/// - [`verify`](Inspect::verify) compares all totals with the raw events. It changes nothing.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the history is unavailable.
///
/// # Cancellation
///
/// All calls only read.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// Returns at most `limit` rejected records, ordered by partition and offset, starting after
    /// `after`.
    async fn rejected(&self, after: Option<(Partition, Offset)>, limit: usize)
    -> Result<Vec<RejectedRecord>>;

    /// Counts everything again from the raw events, and describes the differences.
    async fn verify(&self) -> Result<Verification>;
}

/// A rejected record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedRecord {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its time in the log.
    pub time: Timestamp,
    /// The kind of fault.
    pub reason: String,
    /// The field at fault, if there is a single one.
    pub field: Option<String>,
    /// What is wrong.
    pub detail: String,
    /// Its first bytes as text. Bytes that are not UTF-8 are replaced.
    pub value: String,
    /// The size of the record in bytes.
    pub size: u64,
}

/// The result of [`Inspect::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// How many raw events were counted.
    pub events: u64,
    /// How many posts were compared.
    pub posts: u64,
    /// Descriptions of the first hundred differences.
    pub differences: Vec<String>,
    /// The number of all differences.
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
