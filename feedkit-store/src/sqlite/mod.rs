//! Log, history, counters and alert log in one directory, on SQLite.
//!
//! Two files: `log.db` takes records in, `state.db` keeps what was made of them. Each has one thread that writes,
//! commits whatever waits in one transaction, and syncs it before it answers; readers never wait for it.

mod alert_log;
mod checkpoint;
mod commit;
mod connection;
mod counters;
mod directory;
mod events;
mod failure;
mod history;
mod history_counters;
mod journal;
mod leaders;
mod log;
mod month;
mod options;
mod positions;
mod queries;
mod ranking;
mod rebuild;
mod replay_sources;
mod retention;
mod schema;
mod snapshot;
mod store;
mod totals;
mod verify;
mod writer;

pub use alert_log::SqliteAlertLog;
pub use counters::SqliteCounters;
pub use history::SqliteHistory;
pub use history_counters::HistoryCounters;
pub use log::{
    MAX_RECORD_BYTES, NOTIFICATIONS, SourceOptions, SqliteLog, SqliteSink, SqliteSource, USER_ACTIONS,
};
pub use options::SqliteOptions;
pub use store::Sqlite;
pub use writer::CommitStats;
