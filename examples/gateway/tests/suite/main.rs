//! The gateway, together with the processor, on the real services: each a process, as they are deployed.
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
