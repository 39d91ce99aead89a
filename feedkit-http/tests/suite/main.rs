//! The gateway over real sockets, in one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod gateway;
mod gateway_reads;
mod live;
mod world;
