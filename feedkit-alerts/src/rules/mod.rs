//! The rules that come with feedkit, each with what its algorithm is, where it comes from, and how to tune it.

mod milestone;
mod spike;
mod user_rate;
mod window;

pub use milestone::{Milestone, MilestoneConfig, MilestoneState};
pub use spike::{Spike, SpikeConfig, SpikeState};
pub use user_rate::{UserRate, UserRateConfig, UserRateState};
