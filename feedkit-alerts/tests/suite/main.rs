//! Tests of the crate's public interface.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod config;
mod conformance;
mod driver;
mod follower;
mod milestone;
mod relay;
mod sensitive;
mod spike;
mod support;
mod takeover;
mod test_log;
mod user_rate;
mod world;
