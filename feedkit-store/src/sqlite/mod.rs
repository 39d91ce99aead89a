//! Log, history, counters and alert log in one directory, on SQLite.
//!
//! There are two files: `log.db` holds the records, and `state.db` everything that was made from
//! them. Each has one thread that writes. It commits all jobs that wait in one transaction, and
//! syncs it before it answers. Readers never wait for it.

mod alert_json;
mod alert_lease;
mod alert_log;
mod alert_snapshot;
mod alerts;
mod checkpoint;
mod commit;
mod connection;
mod counters;
mod counts;
mod database;
mod directory;
mod events;
mod failure;
mod gaps;
mod history;
mod inspect;
mod journal;
mod leaders;
mod log;
mod options;
mod outbox;
mod policy;
mod positions;
mod queries;
mod ranking;
mod rebuild;
mod replay_sources;
mod retention;
mod schema;
mod snapshot;
mod store;
mod time_partition;
mod totals;
mod verify;
mod writer;

pub use alert_log::SqliteAlertLog;
pub use counters::SqliteCounters;
pub use counts::SqliteCounts;
pub use history::SqliteHistory;
pub use log::{
    MAX_RECORD_BYTES, NOTIFICATIONS, SourceOptions, SqliteLog, SqliteSink, SqliteSource, USER_ACTIONS,
};
pub use options::SqliteOptions;
pub use store::Sqlite;
pub use writer::CommitStats;
