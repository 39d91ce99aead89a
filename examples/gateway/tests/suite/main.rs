//! The gateway together with the processor, on real services. Each is a process of its own, as in
//! production.
#![allow(clippy::unwrap_used, reason = "tests")]

mod after;
mod away;
mod commands;
mod door;
mod jwks;
mod kill;
mod notify;
mod programs;
mod shared;
mod tls;
mod world;
