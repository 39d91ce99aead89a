//! The pipeline: log → history → followers.
//!
//! One worker for each assigned partition decodes records and commits them to the history. A batch
//! is all that came in while the last commit ran; nothing waits for a batch to fill. The journal
//! entry of every commit is handed to the followers in memory. A follower that cannot keep up, or
//! has just started, reads the journal instead. Everything is bounded: a full inbox pauses its
//! partition at the source, and a full feed falls back to the journal.

mod assignment;
mod builder;
mod commit;
mod config;
mod counter_follower;
mod dispatch;
mod drive;
mod feed;
mod handle;
mod inbox;
mod older;
mod report;
mod retry;
mod run;
mod shared;
mod status;
mod turn;
mod worker;

pub use builder::PipelineBuilder;
pub use config::PipelineConfig;
pub use counter_follower::CounterFollower;
pub use handle::PipelineHandle;
pub use retry::{Backoff, Waits};
pub use run::Pipeline;
pub use status::{
    FollowerStatus, PartitionState, PartitionStatus, PipelineStatus, RebuildCause, Stopped, Trouble,
};
