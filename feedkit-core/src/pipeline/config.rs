//! A pipeline's settings.

use std::time::Duration;

use super::retry::Backoff;
use crate::history::RetentionPolicy;

/// A pipeline's settings. The defaults suit two cores.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PipelineConfig {
    /// The consumer group. A history belongs to one group.
    pub group: String,
    /// Maximum records in one commit. If the source yields a larger batch, the batch is not split.
    pub max_batch: usize,
    /// Maximum commits at the same time over all partitions, from decoding to the history's answer.
    /// At least one. Records that arrive meanwhile wait undecoded, and then go into one commit. If
    /// the limit is higher than the history can process at the same time, it only costs memory. If
    /// it is too low, the history is idle while commits wait for the disk or the network.
    pub max_commits: usize,
    /// Whether the log may get more partitions later. Keys then move to other partitions. To keep
    /// the order of each key, a new partition waits for the older ones. It waits until they are
    /// read up to the offsets at which they ended when its first record was read. The older
    /// partitions are those that had a commit when the new one was claimed. If the new one had no
    /// record then, they are those that had a commit when its first record was read.
    pub partitions_may_grow: bool,
    /// About how many effects to keep in memory for each follower and partition.
    pub feed_effects: usize,
    /// How long to wait before a failed call is repeated.
    pub backoff: Backoff,
    /// How long a shutdown waits for commits, and then for followers.
    pub shutdown_deadline: Duration,
    /// What the history drops, and how often it checks. `None` keeps everything.
    pub retention: Option<(RetentionPolicy, Duration)>,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        PipelineConfig {
            group: "feedkit".to_owned(),
            max_batch: 20_000,
            max_commits: 16,
            partitions_may_grow: false,
            feed_effects: 40_000,
            backoff: Backoff::default(),
            shutdown_deadline: Duration::from_secs(10),
            retention: None,
        }
    }
}
