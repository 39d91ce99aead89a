//! The program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod commands;
#[cfg(feature = "failpoints")]
mod kill;
mod program;
