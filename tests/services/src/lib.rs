//! What feedkit's tests ask of services: which are given, and servers and proxies of a test's own.
//!
//! A test that needs what is not there is ignored, and says so; where the environment says `CI=true` it fails.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "for tests only")]

#[cfg(feature = "kafka")]
mod broker;
#[cfg(feature = "postgres")]
mod database;
mod environment;
#[cfg(feature = "postgres")]
mod postgres;
mod proxy;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "kafka")]
pub use broker::Broker;
#[cfg(feature = "postgres")]
pub use database::Database;
pub use environment::{DEADLINE, eventually, free_port, given, skip, unique};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresServer, Stop};
pub use proxy::{Cut, Proxy, Watch};
#[cfg(feature = "redis")]
pub use redis::{RedisServer, is_redis_installed};
