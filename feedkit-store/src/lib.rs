//! Storage backends of [feedkit](feedkit_core): where the log, the history, the counters and the alerts are kept.
//!
//! | feature | module | keeps |
//! |---|---|---|
//! | `sqlite` (default) | `sqlite` | everything, in one directory, with no service running |
//! | `postgres` | `postgres` | history, rollups and alerts, on PostgreSQL 14 or later |

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
