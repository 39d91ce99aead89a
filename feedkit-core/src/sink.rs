//! Writing to a log: the contract [`EventSink`].

use async_trait::async_trait;
use bytes::Bytes;

use crate::forward::forward;
use crate::{Position, Result};

/// Writes records to a log.
///
/// # Contract
///
/// - [`send`](EventSink::send) returns exactly one outcome for each record, in the order of the
///   batch.
/// - `Ok(position)` means that the record is durable. It survives the end of the process and, if
///   the backend promises it, the failure of the machine. `position` is just after the record, in
///   the partition of its key.
/// - Records with equal keys go to one partition. Those of one batch keep their order there.
/// - An empty batch gives an empty result and changes nothing.
///
/// # Errors
///
/// Each record has its own outcome. [`Retriable`](crate::ErrorKind::Retriable): the record was not
/// written; send it again. [`Uncertain`](crate::ErrorKind::Uncertain): the record may have been
/// written. Sending it again is safe if it contains an event id.
/// [`Invalid`](crate::ErrorKind::Invalid): the log will never accept this record. The error of one
/// record does not keep the others from being written.
///
/// # Cancellation
///
/// If the future is dropped, the outcome of every record is uncertain. No record is written in
/// part.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Writes `batch` and waits until it is durable.
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>>;

    /// Waits until every record that was sent before has an outcome. The pipeline calls it at
    /// shutdown.
    async fn flush(&self) -> Result<()>;
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The key, which determines the partition. The key of an event is the id of its user. A record
    /// without a key may go to any partition.
    pub key: Option<Bytes>,
    /// The record's bytes.
    pub value: Bytes,
}

impl NewRecord {
    /// Creates a record with a key. It goes to the same partition as other records with this key.
    pub fn keyed(key: impl AsRef<[u8]>, value: Bytes) -> Self {
        NewRecord { key: Some(Bytes::copy_from_slice(key.as_ref())), value }
    }
}

forward!(EventSink {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>>;
    async fn flush(&self) -> Result<()>;
});
