//! Log, history, counters and alert log in one directory, on SQLite.
//!
//! Two files: `log.db` takes records in, `state.db` keeps what was made of them. Each has one thread that writes,
//! commits whatever waits in one transaction, and syncs it before it answers; readers never wait for it.

mod alert_log;
mod checkpoint;
mod connection;
mod directory;
mod failure;
mod group;
mod log;
mod record_batch;
mod schema;
mod source;
mod store;
mod writer;

pub use alert_log::SqliteAlertLog;
pub use log::{MAX_RECORD_BYTES, NOTIFICATIONS, SqliteLog, SqliteSink, USER_ACTIONS};
pub use source::{SourceOptions, SqliteSource};
pub use store::{Sqlite, SqliteOptions};
pub use writer::CommitStats;
