//! The parts that the feedkit servers share. Each server only reads its settings, assembles its
//! parts, and runs.
//!
//! | module | what is in it |
//! |---|---|
//! | [`settings`](mod@settings) | one description per key; its flag, variable, place in the file and line in the reference come from it |
//! | [`listener`] | the address that a server listens on |
//! | [`logs`] | the log on standard error, as text or JSON |
//! | [`signals`] | SIGINT and SIGTERM as a cancellation token |
//! | [`patience`] | waiting for a service that is away at the start |
//! | [`output`] | lines, tables and JSON on standard output |
//! | [`threads`] | the threads that a server runs on |
//! | [`failure`] | how a program ends, and its exit code |
//! | `gateway` (a feature) | the settings of a gateway, and how it verifies tokens |
//! | `pipeline` (a feature) | the settings of a pipeline: accepted events, rules, retention |
//! | `services` (a feature) | Kafka, PostgreSQL and Redis: their settings, and how they are opened |
//!
//! This crate is for programs, not a library for others: it reads the environment and may end the
//! process.

#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod failure;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod listener;
pub mod logs;
pub mod output;
pub mod patience;
#[cfg(feature = "pipeline")]
pub mod pipeline;
#[cfg(feature = "services")]
pub mod services;
pub mod settings;
pub mod signals;
pub mod threads;

pub use failure::{Failure, exit};
pub use listener::bind;
pub use patience::patiently;
pub use signals::Signals;
pub use threads::runtime;
