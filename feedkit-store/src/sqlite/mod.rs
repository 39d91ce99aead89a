//! Log, history, counters and alert log in one directory, on SQLite.
//!
//! Two files: `log.db` takes records in, `state.db` keeps what was made of them. Each has one thread that writes,
//! commits whatever waits in one transaction, and syncs it before it answers; readers never wait for it.

mod commit;
mod connection;
mod directory;
mod events;
mod failure;
mod history;
mod journal;
mod month;
mod positions;
mod queries;
mod rebuild;
mod retention;
mod schema;
mod snapshot;
mod store;
mod totals;
mod verify;
mod writer;

pub use history::SqliteHistory;
pub use store::{Sqlite, SqliteOptions};
