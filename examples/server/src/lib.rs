//! What the feedkit servers share, so that each of them only parses, assembles and runs.
//!
//! | module | what is in it |
//! |---|---|
//! | [`settings`](mod@settings) | one description a key, from which come its flag, its variable, its place in the file and its line in the reference |
//! | [`listener`] | the address that a server listens on |
//! | [`logs`] | what goes to standard error, as text or JSON |
//! | [`signals`] | SIGINT and SIGTERM as a cancellation token |
//! | [`patience`] | waiting for a service that is away at the start |
//! | [`output`] | lines, tables and JSON on standard output |
//! | [`threads`] | the threads that a server runs on |
//! | [`failure`] | what a program ends with, and its exit code |
//! | `gateway` (a feature) | the settings of a gateway, and whom it believes |
//! | `pipeline` (a feature) | the settings of a pipeline: what is taken in, the rules, retention |
//! | `services` (a feature) | Kafka, PostgreSQL and Redis: their settings, and how they are opened |
//!
//! A program's crate, not a library for others: it reads the environment and may end the process.

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
