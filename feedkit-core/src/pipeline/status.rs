//! What a pipeline is doing, to be read from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::feed::Feed;
use crate::history::CommitCounts;
use crate::{Error, Offset, Partition, Positions, Result};

/// A pipeline's state at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PipelineStatus {
    /// The partitions that are or were assigned here.
    pub partitions: BTreeMap<Partition, PartitionStatus>,
    /// The followers, by name.
    pub followers: BTreeMap<String, FollowerStatus>,
    /// Why the source yields nothing, while it is being retried.
    pub source_trouble: Option<String>,
    /// What became of all records since the pipeline started.
    pub counts: CommitCounts,
    /// Set when the pipeline has ended.
    pub ended: bool,
}

/// One partition's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartitionStatus {
    /// The history's position.
    pub position: Offset,
    /// What its worker is doing.
    pub state: PartitionState,
}

impl PartitionStatus {
    /// Another state, unless the partition has stopped: that stays to be seen until it is assigned anew.
    pub(super) fn go_on(&mut self, state: PartitionState) {
        if !matches!(self.state, PartitionState::Stopped(_)) {
            self.state = state;
        }
    }
}

/// What a partition's worker is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionState {
    /// Taking the partition over.
    #[default]
    Claiming,
    /// A new partition, begun when the older ones have been read as far as they reached when it came.
    Waiting,
    /// Reading and committing.
    Running,
    /// Trying again what failed for this reason.
    Retrying(String),
    /// No longer assigned here.
    Released,
    /// Stopped for this reason: a person has to look.
    Stopped(String),
}

/// One follower's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FollowerStatus {
    /// What it has been handed.
    pub applied: Positions,
    /// What it has stored, as last asked.
    pub durable: Positions,
    /// Another process is doing this now.
    pub standby: bool,
    /// Why it does not go on: being retried, or stopped for good.
    pub trouble: Option<String>,
    /// Stopped for good.
    pub stopped: bool,
}

impl PipelineStatus {
    /// The history's positions, of the partitions assigned here.
    pub fn positions(&self) -> Positions {
        self.partitions.iter().map(|(partition, status)| (*partition, status.position)).collect()
    }

    /// All faults, one line each. Empty if everything works.
    pub fn troubles(&self) -> Vec<String> {
        let partitions = self.partitions.iter().filter_map(|(partition, status)| match &status.state {
            PartitionState::Retrying(why) => Some(format!("partition {partition} is being retried: {why}")),
            PartitionState::Stopped(why) => Some(format!("partition {partition} stopped: {why}")),
            _ => None,
        });
        let followers = self.followers.iter().filter_map(|(name, status)| {
            status.trouble.as_ref().map(|why| format!("follower {name}: {why}"))
        });
        let source = self.source_trouble.iter().map(|why| format!("the source: {why}"));
        source.chain(partitions).chain(followers).collect()
    }

    /// Whether the history and every follower have come as far as `target`, durably. A partition that has stopped
    /// has not: its offsets may be those of another log.
    pub fn has_reached(&self, target: &Positions) -> bool {
        let stopped = |(partition, _)| self.stopped(partition).is_some();
        self.positions().covers(target)
            && !target.iter().any(stopped)
            && self.followers.values().all(|f| f.standby || f.durable.covers(target))
    }

    /// Why a partition has stopped, if it has.
    fn stopped(&self, partition: Partition) -> Option<&str> {
        match &self.partitions.get(&partition)?.state {
            PartitionState::Stopped(why) => Some(why),
            _ => None,
        }
    }

    /// A partition of `target` that has stopped, and why.
    fn stopped_before(&self, target: &Positions) -> Option<String> {
        target.iter().find_map(|(partition, _)| {
            self.stopped(partition).map(|why| format!("partition {partition} stopped: {why}"))
        })
    }

    /// What keeps `target` from being reached however long one waits.
    fn hopeless(&self, target: &Positions) -> Option<String> {
        if self.ended {
            return Some("the pipeline has ended".to_owned());
        }
        self.stopped_before(target).or_else(|| {
            let (name, status) = self.followers.iter().find(|(_, f)| f.stopped)?;
            Some(format!(
                "follower {name} stopped: {}",
                status.trouble.as_deref().unwrap_or("for no known reason")
            ))
        })
    }
}

/// Looks into a pipeline from outside; cheap to clone.
#[derive(Debug, Clone)]
pub struct PipelineHandle {
    pub(super) status: watch::Receiver<PipelineStatus>,
    pub(super) feeds: Vec<Arc<Feed>>,
}

impl PipelineHandle {
    /// The state now.
    pub fn status(&self) -> PipelineStatus {
        self.status.borrow().clone()
    }

    /// Waits until the history and every follower have come as far as `target`, durably.
    ///
    /// # Errors
    ///
    /// [`Fatal`](crate::ErrorKind::Fatal) when that will not happen: the pipeline has ended, or a partition or
    /// follower has stopped before it.
    ///
    /// # Cancellation
    ///
    /// Only waits.
    pub async fn reached(&self, target: &Positions) -> Result<PipelineStatus> {
        let mut status = self.status.clone();
        let end = status.wait_for(|s| s.has_reached(target) || s.hopeless(target).is_some()).await;
        let end = end.map_err(|_| Error::fatal("the pipeline has ended"))?.clone();
        match end.has_reached(target) {
            true => Ok(end),
            false => Err(Error::fatal(end.hopeless(target).unwrap_or_default())),
        }
    }

    /// Another process may have committed: followers of all partitions look now, instead of within a second.
    pub fn look(&self) {
        self.feeds.iter().for_each(|feed| feed.look());
    }

    /// Waits until the history has come as far as `target`, whatever the followers do.
    ///
    /// # Errors
    ///
    /// [`Fatal`](crate::ErrorKind::Fatal) when that will not happen: the pipeline has ended, or a partition has
    /// stopped before it.
    ///
    /// # Cancellation
    ///
    /// Only waits.
    pub async fn committed(&self, target: &Positions) -> Result<()> {
        let mut status = self.status.clone();
        // Asked by many at once: nothing is copied while they wait.
        let has_come = |s: &PipelineStatus| {
            let stands_at = |p: Partition| s.partitions.get(&p).map_or(0, |status| status.position);
            target.iter().all(|(p, offset)| stands_at(p) >= offset && s.stopped(p).is_none())
        };
        let lost = |s: &PipelineStatus| {
            s.ended.then(|| "the pipeline has ended".to_owned()).or_else(|| s.stopped_before(target))
        };
        let end = status.wait_for(|s| has_come(s) || lost(s).is_some()).await;
        let end = end.map_err(|_| Error::fatal("the pipeline has ended"))?;
        match has_come(&end) {
            true => Ok(()),
            false => Err(Error::fatal(lost(&end).unwrap_or_default())),
        }
    }

    /// Waits for the next change of the state; `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.status.changed().await.is_ok()
    }
}
