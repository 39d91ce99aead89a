//! The program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod browser;
mod commands;
mod configuration;
#[cfg(feature = "failpoints")]
mod disk;
mod fuzz;
#[cfg(feature = "failpoints")]
mod kill;
mod notify;
#[cfg(feature = "failpoints")]
mod oracle;
mod pipelines;
mod program;
mod serve;
mod server;
mod stream;
