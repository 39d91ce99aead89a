//! Spikes of likes.

mod alerts;
mod config;
mod rule;
mod state;

pub use config::SpikeConfig;
pub use rule::Spike;
pub use state::SpikeState;
