//! Storage backends of [feedkit](feedkit_core): where the log, the history, the counters and the alerts are kept.
//!
//! | feature | module | keeps |
//! |---|---|---|
//! | `sqlite` (default) | [`sqlite`] | everything, in one directory, with no service running |
//! | `redis` | [`redis`] | counters, rate limits shared by gateways, cached answers |

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
