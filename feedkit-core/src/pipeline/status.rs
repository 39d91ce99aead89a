//! What a pipeline is doing at one moment.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::CommitCounts;
use crate::{Error, ErrorKind, Offset, Partition, Positions};

/// A pipeline's state at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PipelineStatus {
    /// The partitions that are assigned to this pipeline, or were.
    pub partitions: BTreeMap<Partition, PartitionStatus>,
    /// The followers by name.
    pub followers: BTreeMap<String, FollowerStatus>,
    /// Why the source cannot be read, while the pipeline tries again.
    pub source_trouble: Option<Trouble>,
    /// How many records were accepted, rejected and so on since the pipeline started.
    pub counts: CommitCounts,
    /// Whether the pipeline has ended.
    pub ended: bool,
}

/// One partition's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartitionStatus {
    /// The history's position.
    pub position: Offset,
    /// What the partition's worker is doing.
    pub state: PartitionState,
}

/// What a partition's worker is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionState {
    /// It claims the partition from its last owner.
    #[default]
    Claiming,
    /// The partition is new. It waits until the older partitions are read up to where they ended
    /// when it came.
    Waiting,
    /// It reads and commits records.
    Running,
    /// It repeats a call that failed for this reason.
    Retrying(Trouble),
    /// The partition is no longer assigned to this pipeline.
    Released,
    /// It stopped for good, for this reason. A person has to look.
    Stopped(Trouble),
}

/// One follower's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FollowerStatus {
    /// The positions up to which it has received entries.
    pub applied: Positions,
    /// The positions that it had stored when it was last asked.
    pub durable: Positions,
    /// Whether another process runs this follower now.
    pub standby: bool,
    /// Why it does not continue. The pipeline tries again, unless the follower has `stopped`.
    pub trouble: Option<Trouble>,
    /// Whether it stopped for good.
    pub stopped: bool,
    /// Why it is being rebuilt, while it is.
    pub rebuilding: Option<RebuildCause>,
    /// How many rebuilds have begun since the pipeline started.
    pub rebuilds: BTreeMap<RebuildCause, u64>,
}

/// Why a follower is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RebuildCause {
    /// The follower asked for it: its state is lost, unfinished, or of another history.
    Requested,
    /// The journal no longer reaches back to its position.
    Expired,
    /// It refused, several times in a row, the entries that follow on its own position. This is a
    /// defect of the follower.
    Refused,
}

impl RebuildCause {
    /// All causes.
    pub const ALL: [RebuildCause; 3] =
        [RebuildCause::Requested, RebuildCause::Expired, RebuildCause::Refused];

    /// Its name in metrics: `requested`, `expired` or `refused`.
    pub fn name(self) -> &'static str {
        match self {
            RebuildCause::Requested => "requested",
            RebuildCause::Expired => "expired",
            RebuildCause::Refused => "refused",
        }
    }
}

impl fmt::Display for RebuildCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error as a status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// The kind, which tells what a caller can do.
    pub kind: ErrorKind,
    /// What went wrong.
    pub message: String,
}

/// A partition or a follower that stopped for good. A person has to look.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// A partition stopped. The others continue.
    Partition(Partition, Trouble),
    /// The follower with this name stopped. Everything else continues.
    Follower(String, Trouble),
}

impl PipelineStatus {
    /// The history's positions in the partitions that are assigned to this pipeline.
    pub fn positions(&self) -> Positions {
        self.partitions.iter().map(|(partition, status)| (*partition, status.position)).collect()
    }

    /// The partitions and followers that stopped for good: partitions first, each in order.
    pub fn stopped(&self) -> Vec<Stopped> {
        let partitions = self.partitions.keys().filter_map(|partition| self.stopped_partition(*partition));
        partitions.chain(self.stopped_followers()).collect()
    }

    /// All troubles, one line each. It is empty if everything works. The lines are for people. To
    /// decide something in code, use [`stopped`](PipelineStatus::stopped) and the fields.
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

    /// Whether the history and every follower have stored everything up to `target`. This is false
    /// for a partition that stopped: its offsets may be those of another log.
    pub fn has_reached(&self, target: &Positions) -> bool {
        self.positions().covers(target)
            && self.stopped_among(target).is_none()
            && self.followers.values().all(|f| f.standby || f.durable.covers(target))
    }

    /// Whether the history has stored everything up to `target`.
    pub(super) fn has_committed(&self, target: &Positions) -> bool {
        let stands_at = |p: Partition| self.partitions.get(&p).map_or(0, |status| status.position);
        target.iter().all(|(p, offset)| stands_at(p) >= offset) && self.stopped_among(target).is_none()
    }

    /// The first partition of `target` that stopped.
    pub(super) fn stopped_among(&self, target: &Positions) -> Option<Stopped> {
        target.iter().find_map(|(partition, _)| self.stopped_partition(partition))
    }

    /// The followers that stopped.
    pub(super) fn stopped_followers(&self) -> impl Iterator<Item = Stopped> {
        self.followers.iter().filter(|(_, follower)| follower.stopped).map(|(name, follower)| {
            let unknown = || Trouble::new(ErrorKind::Fatal, "for no known reason");
            Stopped::Follower(name.clone(), follower.trouble.clone().unwrap_or_else(unknown))
        })
    }

    fn stopped_partition(&self, partition: Partition) -> Option<Stopped> {
        match &self.partitions.get(&partition)?.state {
            PartitionState::Stopped(why) => Some(Stopped::Partition(partition, why.clone())),
            _ => None,
        }
    }
}

impl PartitionStatus {
    /// Sets another state, unless the partition stopped. That state stays visible until the
    /// partition is assigned again.
    pub(super) fn go_on(&mut self, state: PartitionState) {
        if !matches!(self.state, PartitionState::Stopped(_)) {
            self.state = state;
        }
    }
}

impl Trouble {
    /// A trouble of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Trouble { kind, message: message.into() }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        Trouble::new(error.kind(), error.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Stopped {
    /// Why it stopped.
    pub fn trouble(&self) -> &Trouble {
        match self {
            Stopped::Partition(_, trouble) | Stopped::Follower(_, trouble) => trouble,
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Partition(partition, why) => write!(f, "partition {partition} stopped: {why}"),
            Stopped::Follower(name, why) => write!(f, "follower {name} stopped: {why}"),
        }
    }
}

impl From<Stopped> for Error {
    /// A [`Fatal`](ErrorKind::Fatal) error: waiting does not help.
    fn from(stopped: Stopped) -> Self {
        Error::fatal(stopped.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(state: PartitionState) -> PartitionStatus {
        PartitionStatus { position: 7, state }
    }

    #[test]
    fn only_what_stopped_has_stopped_whatever_the_texts_say() {
        let mut status = PipelineStatus::default();
        let trouble = |kind| Trouble::new(kind, "the server stopped");
        let retrying = PartitionState::Retrying(trouble(ErrorKind::Retriable));
        status.partitions.insert(Partition(0), partition(retrying));
        status.partitions.insert(Partition(1), partition(PartitionState::Running));
        status.source_trouble = Some(trouble(ErrorKind::Retriable));
        let retried = FollowerStatus { trouble: status.source_trouble.clone(), ..Default::default() };
        status.followers.insert("counters".to_owned(), retried.clone());
        assert_eq!((status.stopped(), status.troubles().len()), (Vec::new(), 3));

        let gap = trouble(ErrorKind::Gap);
        status.partitions.insert(Partition(2), partition(PartitionState::Stopped(gap.clone())));
        let follower = FollowerStatus { stopped: true, ..retried };
        status.followers.insert("alerts".to_owned(), follower);
        let alerts = Stopped::Follower("alerts".to_owned(), trouble(ErrorKind::Retriable));
        assert_eq!(status.stopped(), [Stopped::Partition(Partition(2), gap), alerts]);
        assert_eq!(status.stopped()[0].to_string(), "partition 2 stopped: the server stopped");
        assert_eq!(status.stopped()[0].trouble().kind, ErrorKind::Gap);
        // Its offset may belong to another log.
        let target: Positions = [(Partition(2), 3)].into_iter().collect();
        assert!(!status.has_committed(&target) && status.stopped_among(&target).is_some());
    }
}
