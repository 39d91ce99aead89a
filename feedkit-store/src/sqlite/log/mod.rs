//! The log of a data directory: topics of partitions, each partition a table of `log.db`.

mod group;
#[expect(clippy::module_inception, reason = "it holds the log itself")]
mod log;
mod options;
mod read;
mod record_batch;
mod sink;
mod source;
mod topic;

pub use log::{NOTIFICATIONS, SqliteLog, USER_ACTIONS};
pub use options::SourceOptions;
pub use sink::{MAX_RECORD_BYTES, SqliteSink};
pub use source::SqliteSource;
