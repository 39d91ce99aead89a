//! What all tasks of a pipeline share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::config::PipelineConfig;
use super::feed::Feed;
use super::status::{PartitionState, PartitionStatus, PipelineStatus, Trouble};
use crate::{Clock, Codec, History, Partition};

/// What all tasks of a pipeline share.
pub(super) struct Shared {
    pub(super) history: Arc<dyn History>,
    pub(super) codec: Arc<dyn Codec>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: PipelineConfig,
    /// One permit for each commit that may run at the same time.
    pub(super) commits: Semaphore,
    pub(super) feeds: Vec<Arc<Feed>>,
    pub(super) status: watch::Sender<PipelineStatus>,
}

impl Shared {
    /// Shows why the source cannot be read, or that it can be read.
    pub(super) fn show_source(&self, trouble: Option<Trouble>) {
        self.status.send_if_modified(|status| {
            let changed = status.source_trouble != trouble;
            status.source_trouble = trouble;
            changed
        });
    }

    /// Sets the state of a partition, even if it stopped before.
    pub(super) fn set_state(&self, partition: Partition, state: PartitionState) {
        self.show(partition, |status| status.state = state);
    }

    /// Changes what the status shows of a partition.
    pub(super) fn show(&self, partition: Partition, change: impl FnOnce(&mut PartitionStatus)) {
        self.status.send_modify(|status| change(status.partitions.entry(partition).or_default()));
    }
}
