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
    /// Maximum records in one commit. A batch that the source yields larger is not split.
    pub max_batch: usize,
    /// Maximum commits under way at once over all partitions, from decoding to the history's
    /// answer; at least one. Records that come meanwhile wait as they were read, and then go into
    /// one commit. A limit above what the history can do side by side only takes memory. With a
    /// limit too low, the history idles while commits wait for its disk or the network.
    pub max_commits: usize,
    /// Whether the log may get more partitions later. Keys then move to other partitions. To keep
    /// the order of each key, a new partition waits until the older partitions are read up to where
    /// they ended when its first record was read. The older partitions are those with a commit when
    /// the new one was claimed. If the new one had no record then, they are those with a commit
    /// when its first record was read.
    pub partitions_may_grow: bool,
    /// About how many effects to keep in memory for each follower and partition.
    pub feed_effects: usize,
    /// How long to wait before a failed call is repeated.
    pub backoff: Backoff,
    /// How long a shutdown waits for commits, and then for followers.
    pub shutdown_deadline: Duration,
    /// What the history drops, and how often it looks. `None` keeps everything.
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
