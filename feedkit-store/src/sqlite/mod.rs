//! Log, history, counters and alert log in one directory, on SQLite.
//!
//! Two files: `log.db` takes records in, `state.db` keeps what was made of them. Each has one thread that writes,
//! commits whatever waits in one transaction, and syncs it before it answers; readers never wait for it.

mod connection;
mod directory;
mod failure;
mod schema;
mod store;
mod writer;

pub use store::{Sqlite, SqliteOptions};
