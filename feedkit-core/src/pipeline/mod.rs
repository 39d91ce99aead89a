//! The pipeline: log → history → followers.
//!
//! One worker for each assigned partition decodes records and commits them to the history; a batch is what came
//! in while the last commit ran, with no minimum wait. Every commit's journal entry is handed to the followers in
//! memory; one that cannot keep up, or has just started, reads the journal instead. Everything is bounded: a full
//! inbox pauses its partition at the source, a full hand-over falls back to the journal.

mod commit;
mod counter_follower;
mod dispatch;
mod drive;
mod feed;
mod inbox;
mod retry;
mod run;
mod status;
mod worker;

pub use counter_follower::CounterFollower;
pub use retry::{Backoff, Waits};
pub use run::{Pipeline, PipelineBuilder, PipelineConfig};
pub use status::{FollowerStatus, PartitionState, PartitionStatus, PipelineHandle, PipelineStatus};
