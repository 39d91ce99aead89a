//! The log's reading end.
//!
//! One thread polls librdkafka and puts what comes into a lane for each partition; the source takes from the
//! lanes. Both meet in [`meeting`], under one short lock.

mod answers;
mod consumer;
mod context;
mod ends;
mod gaps;
mod group;
mod held;
mod lane;
mod meeting;
mod records;
mod room;
#[allow(clippy::module_inception, reason = "it holds the source")]
mod source;
mod stats;

pub use source::KafkaSource;
pub use stats::{PartitionStats, SourceHandle, SourceStats};
