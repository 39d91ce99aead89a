//! What feedkit's tests need of the machine: services that are given, and servers and proxies that
//! a test starts.
//!
//! The macros `needs_*` ignore a test if something that it needs is missing, and say what is
//! missing:
//!
//! ```ignore
//! #[apply(needs_kafka!)]
//! #[tokio::test]
//! async fn a_topic_is_read_to_its_end() {}
//! ```
//!
//! The build script of this crate looks for what is there. With `CI=true` it ignores no test; a
//! test without what it needs fails then.

#![allow(clippy::unwrap_used, reason = "for tests only")]

#[cfg(feature = "kafka")]
mod broker;
mod certificates;
#[cfg(feature = "postgres")]
mod database;
mod environment;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_programs;
mod proxy;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "disk")]
mod tmpfs;

#[cfg(feature = "kafka")]
pub use broker::Broker;
pub use certificates::certify;
#[cfg(feature = "postgres")]
pub use database::Database;
pub use environment::{DEADLINE, eventually, free_port, given, unique};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresServer, Stop};
pub use proxy::{Cut, Proxy, Watch};
#[cfg(feature = "redis")]
pub use redis::RedisServer;
#[cfg(feature = "disk")]
pub use tmpfs::Tmpfs;

/// Applies one of the macros `needs_*` to a test.
pub use macro_rules_attribute::apply;

include!(concat!(env!("OUT_DIR"), "/needs.rs"));
