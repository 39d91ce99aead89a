//! The log's reading end.
//!
//! One thread polls librdkafka and puts what comes into a lane for each partition; the source takes from the
//! lanes. Both meet in [`meeting`], under one short lock.

mod answers;
mod consumer;
mod context;
mod lane;
mod meeting;
#[allow(clippy::module_inception, reason = "it holds the source")]
mod source;
mod stats;
mod watch;

pub use source::KafkaSource;
pub use stats::{PartitionStats, SourceHandle, SourceStats};
