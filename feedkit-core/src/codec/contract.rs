//! The contract [`Codec`].

use super::fault::InvalidEvent;
use crate::source::Record;
use crate::{Event, Partition};

/// Decodes the records of a log.
///
/// # Contract
///
/// - The same record at the same place always gives the same event or the same error. An event
///   without an id gets an id derived from its place.
/// - `decode` never panics, whatever the bytes are.
pub trait Codec: Send + Sync + 'static {
    /// Decodes `record`, or says why it is not a valid event.
    fn decode(&self, place: &Place, record: &Record) -> Result<Event, InvalidEvent>;
}

/// Where a record was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The log's incarnation. A log that was created again has another one.
    pub log: u128,
    /// The partition.
    pub partition: Partition,
}
