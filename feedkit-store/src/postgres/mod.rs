//! History, queries, rollups and alert log on PostgreSQL.
//!
//! A commit is one transaction. It moves the partition's row in `positions` from the batch's start
//! to its end, under the batch's epoch, and writes everything else. A writer that finds another
//! epoch or position there changes nothing.
//!
//! Writers of several partitions work at the same time. A commit looks up the state that it depends
//! on (repeats, likes, authors) without locks, and unique indexes check what it writes. If another
//! partition's writer came first, the transaction is rolled back and repeated. So the usual case
//! needs no lock.

mod alert_json;
mod alert_lease;
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
mod held;
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
mod pool;
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
