//! Storage backends of [feedkit](feedkit_core): where the log, the history, the counters and the alerts are kept.
//!
//! | feature | module | keeps |
//! |---|---|---|
//! | `sqlite` (default) | `sqlite` | everything, in one directory, with no service running |
//! | `postgres` | `postgres` | history, rollups and alerts, on PostgreSQL 14 or later |
//! | `redis` | `redis` | counters, rate limits shared by gateways, cached answers |

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
