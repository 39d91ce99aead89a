//! Reading from a topic.
//!
//! One thread polls librdkafka ([`consumer`]) and puts the records of each partition into a buffer
//! of its own, the partition's [`lane`]. The source takes batches from the lanes. Thread and source
//! share the state in [`shared`], under one lock that each holds only briefly.

mod answers;
mod consumer;
mod context;
mod ends;
mod gaps;
mod group;
mod held;
mod lane;
mod records;
mod room;
mod shared;
#[allow(clippy::module_inception, reason = "it contains the source")]
mod source;
mod stats;

pub use source::KafkaSource;
pub use stats::{PartitionStats, SourceHandle, SourceStats};
