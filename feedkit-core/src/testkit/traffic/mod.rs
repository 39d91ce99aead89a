//! Seeded traffic: what the users of a feed might do, and what goes wrong on the way.

mod arrivals;
mod config;
mod generator;
mod line;

pub use config::{Farm, Steady, TrafficConfig, Viral};
pub use generator::{Label, Traffic, TrafficItem};
