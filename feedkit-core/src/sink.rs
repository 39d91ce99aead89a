//! Where events go in: the log's writing end.

use async_trait::async_trait;
use bytes::Bytes;

use crate::forward::forward;
use crate::{Position, Result};

/// Takes records into a log.
///
/// # Contract
///
/// - [`send`](EventSink::send) gives exactly one outcome for each record, in the batch's order.
/// - `Ok(position)` means that the record is durable: it survives the end of the process and, where the backend
///   promises it, of the machine. `position` lies just after the record, in the partition of its key.
/// - Records of equal keys go to one partition; those of one batch keep their order there.
/// - An empty batch gives an empty result and touches nothing.
///
/// # Errors
///
/// Outcome by record. [`Retriable`](crate::ErrorKind::Retriable): it was not taken, send it again.
/// [`Uncertain`](crate::ErrorKind::Uncertain): it may have been taken; sending it again is safe if it bears an
/// event id. [`Invalid`](crate::ErrorKind::Invalid): this record will never be taken. One record's error does not
/// keep the others from being taken.
///
/// # Cancellation
///
/// Dropping the future leaves every record of the batch uncertain; none is taken in part.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Takes `batch` in and waits until it is durable.
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>>;

    /// Waits until all that was sent before has an outcome. Called at shutdown.
    async fn flush(&self) -> Result<()>;
}

/// A record to be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Decides the partition: the user's id for events. Without one any partition may be taken.
    pub key: Option<Bytes>,
    /// The record's bytes.
    pub value: Bytes,
}

impl NewRecord {
    /// A record that goes where other records of `key` go.
    pub fn keyed(key: impl AsRef<[u8]>, value: Bytes) -> Self {
        NewRecord { key: Some(Bytes::copy_from_slice(key.as_ref())), value }
    }
}

forward!(EventSink {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>>;
    async fn flush(&self) -> Result<()>;
});
