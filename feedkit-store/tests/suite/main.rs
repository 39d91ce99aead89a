//! Tests of this crate's backends, on real files and servers.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "all of this is tests")]
#![allow(unreachable_pub, reason = "nothing here is a library")]

#[cfg(feature = "sqlite")]
mod acknowledge;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod histories;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sync;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod upgrade;
