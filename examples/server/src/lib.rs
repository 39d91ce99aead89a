//! What the feedkit servers share, so that each of them only parses, assembles and runs.
//!
//! | module | what is in it |
//! |---|---|
//! | [`settings`] | one description a key, from which come its flag, its variable, its place in the file and its line in the reference |
//! | [`logs`] | what goes to standard error, as text or JSON |
//! | [`signals`] | SIGINT and SIGTERM as a cancellation token |
//! | [`patience`] | waiting for a service that is away at the start |
//! | [`failure`] | what a program ends with, and its exit code |
//! | `gateway` (a feature) | the settings of a gateway |
//!
//! A program's crate, not a library for others: it reads the environment and may end the process.

pub mod failure;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod logs;
pub mod patience;
pub mod settings;
pub mod signals;

pub use failure::{Failure, exit};
pub use patience::patiently;
pub use signals::Signals;
