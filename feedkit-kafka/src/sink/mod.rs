//! The log's writing end.

mod delivery;
mod producer;
#[allow(clippy::module_inception, reason = "it holds the sink")]
mod sink;

pub use delivery::SinkStats;
pub use sink::KafkaSink;
