//! Storage backends of [feedkit](feedkit_core), for the log, the history, the counters and the
//! alerts.
//!
//! | feature | module | stores |
//! |---|---|---|
//! | `sqlite` (default) | `sqlite` | everything, in one directory, without a service |
//! | `postgres` | `postgres` | history, rollups and alerts, on PostgreSQL 14 or later |
//! | `redis` | `redis` | counters, cached answers, and rate limits that gateways share |
//!
//! A file has the same name in each module that has its concept:
//!
//! | file | holds |
//! |---|---|
//! | `store.rs` | the entry point: `Sqlite`, `Postgres`, `Redis` |
//! | `options.rs` | how to open it: `SqliteOptions`, `PostgresOptions`, `RedisOptions` |
//! | `shared.rs` | the state that all parts of one store share |
//! | `connection.rs`, `database.rs` | connections, and running work on them |
//! | `failure.rs` | the kinds of the store's errors |
//! | `schema.rs` | versions of the schema |
//! | `history.rs`, `commit.rs`, `policy.rs` | the history, the transaction of a commit, and how effects are counted |
//! | `positions.rs`, `gaps.rs` | the partitions' positions, and moving them over gaps |
//! | `events.rs`, `time_partition.rs` | raw events, and the months in which they are stored |
//! | `journal.rs`, `snapshot.rs`, `retention.rs` | reading and dropping what is stored |
//! | `totals.rs`, `rebuild.rs` | counts, and computing them again |
//! | `queries.rs`, `inspect.rs`, `verify.rs` | answers to users and operators |
//! | `counters.rs`, `counts.rs` | counters that follow a history, and reading them |
//! | `alert_log.rs`, `alert_lease.rs`, `alert_snapshot.rs`, `outbox.rs`, `alerts.rs` | the alerts |
//!
//! What backends do alike is in [`feedkit_core::backend`].

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
