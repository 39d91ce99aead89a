//! Appending to a topic.

mod delivery;
mod producer;
#[allow(clippy::module_inception, reason = "it contains the sink")]
mod sink;

pub use delivery::SinkStats;
pub use sink::KafkaSink;
