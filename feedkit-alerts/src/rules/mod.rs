//! The rules that come with feedkit.
//!
//! The documentation of each rule says how its algorithm works, where it comes from, and how to
//! tune it.

mod data;
mod milestone;
mod spike;
mod user_rate;
mod window;

pub use milestone::{Milestone, MilestoneConfig, MilestoneState};
pub use spike::{Spike, SpikeConfig, SpikeState};
pub use user_rate::{UserRate, UserRateConfig, UserRateState};
