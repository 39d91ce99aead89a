//! The processor as a process, on real Kafka, PostgreSQL and Redis.
#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod commands;
mod gaps;
mod hostile;
#[cfg(feature = "failpoints")]
mod kill;
mod oracle;
mod outages;
mod restored;
mod scaling;
mod traffic;
mod world;
