//! The program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod browser;
mod commands;
#[cfg(feature = "failpoints")]
mod disk;
#[cfg(feature = "failpoints")]
mod kill;
#[cfg(feature = "failpoints")]
mod oracle;
mod pipelines;
mod program;
