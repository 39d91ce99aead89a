//! The log of a data directory: topics of partitions, each partition a table of `log.db`.

mod ahead;
mod group;
#[expect(clippy::module_inception, reason = "it holds the log itself")]
mod log;
mod membership;
mod options;
mod read;
mod record_batch;
mod shared;
mod sink;
mod slot;
mod source;
mod topic;

pub use log::SqliteLog;
pub use options::SourceOptions;
pub use sink::{MAX_RECORD_BYTES, SqliteSink};
pub use source::SqliteSource;
pub use topic::{NOTIFICATIONS, USER_ACTIONS};
