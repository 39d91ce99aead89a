//! The thread that writes a database file. It commits all jobs that wait together.

mod job;
mod stats;
#[cfg(test)]
mod tests;
mod thread;
#[expect(clippy::module_inception, reason = "it holds the writer itself")]
mod writer;

pub use stats::CommitStats;
pub(crate) use writer::{GROUP_WEIGHT, Writer};
