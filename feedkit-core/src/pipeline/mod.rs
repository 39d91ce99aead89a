//! The pipeline: log → history → followers.
//!
//! One worker for each assigned partition decodes records and commits them to the history. A batch
//! contains all records that arrived during the previous commit. No record waits for a batch to
//! fill. The followers receive the journal entry of every commit from memory. A follower that
//! cannot keep up, or has just started, reads the journal instead. Every queue is limited. A full
//! inbox pauses its partition at the source. When a feed is full, the follower reads the journal.

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
