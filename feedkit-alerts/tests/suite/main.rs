//! Everything that is tested of the alerts from outside.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod config;
mod conformance;
mod follower;
mod milestone;
mod relay;
mod spike;
mod support;
mod takeover;
mod user_rate;
mod world;
