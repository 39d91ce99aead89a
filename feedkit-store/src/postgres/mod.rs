//! History, queries, rollups and alert log on PostgreSQL.
//!
//! What makes a commit one step: a transaction that moves the partition's row in `positions` from the batch's start to
//! its end, under its epoch, and writes everything else beside it. Whoever finds another epoch or position there
//! has changed nothing.
//!
//! Writers of several partitions work side by side. What a commit depends on (repeats, likes, authors) is looked up
//! without locks and written with the keys' uniqueness as the judge: when another partition's writer came first, the
//! transaction is rolled back and made anew, so that the usual case pays for no lock.

mod alert_log;
mod alert_snapshot;
mod alerts;
mod commit;
mod connection;
mod copy;
mod database;
mod erase;
mod events;
mod failure;
mod gaps;
mod history;
mod inspect;
mod journal;
mod likes;
mod notifier;
mod numbers;
mod options;
mod outbox;
mod partition_tables;
mod policy;
mod positions;
mod queries;
mod rebuild;
mod rejected;
mod rejected_values;
mod retention;
mod rollup_positions;
mod rollups;
mod schema;
mod shared;
mod snapshot;
mod sql_time;
mod store;
mod time_partition;
mod tls;
mod totals;
mod verify;

pub use alert_log::PostgresAlertLog;
pub use erase::Erased;
pub use history::PostgresHistory;
pub use notifier::{Commits, Notifier};
pub use options::{PostgresOptions, RollupOptions, TlsMode, TlsOptions};
pub use rejected_values::{RejectedKey, RejectedValue};
pub use rollups::PostgresRollups;
pub use store::Postgres;
