//! How feedkit's tests run a program and talk to it: processes, an HTTP client, WebSockets, and
//! what every server must do.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "for tests only")]

mod client;
mod process;
mod sending;
mod socket;
mod tokens;
pub mod told;

pub use client::{Answer, Client, JSON, NDJSON, PATIENCE, Served, eventually};
pub use process::{Ended, Process, bare, said};
pub use sending::{Sending, Taken};
pub use socket::Socket;
pub use tokens::{claims, token};
