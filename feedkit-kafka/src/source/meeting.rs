//! Where the consumer's thread and the source meet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use feedkit_core::source::{Assigned, Revoked, SourceEvent};
use feedkit_core::{Error, Partition, Result};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::lane::{Lane, Taken};
use super::records::Untied;
use super::stats::Counters;

#[derive(Debug, Default)]
pub(super) struct Meeting {
    inner: Mutex<Inner>,
    /// For who reads: there may be something to take.
    changed: Notify,
    /// For the consumer: a lane has room, or there is something to do.
    room: Condvar,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) lanes: BTreeMap<Partition, Lane>,
    /// What is told before any batch. Bounded by the partitions.
    told_first: VecDeque<First>,
    /// What went wrong and may pass; the newest few.
    troubles: VecDeque<Error>,
    /// Why nothing more will come.
    ended: Option<String>,
    /// Asked by who reads.
    pub(super) questions: Vec<Question>,
    /// The source is gone.
    pub(super) closing: bool,
    /// The partition taken from last.
    last: Option<Partition>,
}

#[derive(Debug)]
enum First {
    Assigned(Assigned),
    Revoked(Revoked),
    Lost(Vec<Partition>),
}

/// Is the partition ours, after a fresh heartbeat?
#[derive(Debug)]
pub(super) struct Question {
    pub(super) partition: Partition,
    pub(super) reply: oneshot::Sender<Result<bool>>,
}

/// Most troubles kept for a reader that does not ask.
const TROUBLES: usize = 8;

enum Next {
    Event(SourceEvent),
    Untied(Untied),
}

impl Meeting {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// There may be something to take.
    pub(super) fn tell(&self) {
        self.changed.notify_one();
    }

    /// There is something for the consumer to do.
    pub(super) fn call(&self) {
        self.room.notify_one();
    }

    /// Waits until called, or so long.
    pub(super) fn wait(&self, inner: &mut MutexGuard<'_, Inner>, time: Duration) {
        self.room.wait_for(inner, time);
    }

    /// The next event; waits for one. Cancel-safe: what is taken is returned in the same step.
    pub(super) async fn next(&self) -> Result<SourceEvent> {
        loop {
            if let Some(next) = self.take()? {
                return Ok(match next {
                    Next::Event(event) => event,
                    Next::Untied(untied) => {
                        self.counters.taken(untied.count());
                        SourceEvent::Batch(untied.into_batch())
                    }
                });
            }
            // Keeps a permit when it was told in between.
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Result<Option<Next>> {
        let mut inner = self.lock();
        if let Some(first) = inner.told_first.pop_front() {
            return Ok(Some(Next::Event(match first {
                First::Assigned(assigned) => {
                    if let Some(lane) = inner.lanes.get_mut(&assigned.partition) {
                        lane.told = true;
                    }
                    SourceEvent::Assigned(assigned)
                }
                First::Revoked(revoked) => SourceEvent::Revoked(revoked),
                First::Lost(partitions) => SourceEvent::Lost(partitions),
            })));
        }
        if let Some(taken) = inner.take_turn() {
            drop(inner);
            self.room.notify_one();
            return Ok(Some(match taken {
                Taken::Records(untied) => Next::Untied(untied),
                Taken::Gap(gap) => Next::Event(SourceEvent::Gap(gap)),
            }));
        }
        if let Some(ended) = &inner.ended {
            return Err(Error::fatal(ended.clone()));
        }
        match inner.troubles.pop_front() {
            Some(trouble) => Err(trouble),
            None => Ok(None),
        }
    }
}

impl Inner {
    /// The partitions that are paused because nobody took what was read of them.
    pub(super) fn held_back(&self) -> impl Iterator<Item = Partition> {
        self.lanes
            .iter()
            .filter(|(_, lane)| lane.is_reading() && lane.held_back)
            .map(|(partition, _)| *partition)
    }

    /// From the partition after the one taken from last.
    fn take_turn(&mut self) -> Option<Taken> {
        let after = self.lanes.range((
            self.last.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
            std::ops::Bound::Unbounded,
        ));
        let partition = after
            .chain(&self.lanes)
            .find(|(_, lane)| lane.has_something())
            .map(|(partition, _)| *partition)?;
        self.last = Some(partition);
        self.lanes.get_mut(&partition)?.take(partition)
    }

    /// A partition is ours.
    pub(super) fn assign(&mut self, partition: Partition, log: u128) {
        let (assigned, answer) = Assigned::new(partition, log);
        self.lanes.insert(partition, Lane::new(log, answer));
        self.told_first.push_back(First::Assigned(assigned));
    }

    /// Partitions are ours no longer. Which of them the reader knows of.
    pub(super) fn remove(&mut self, partitions: &[Partition]) -> Vec<Partition> {
        // One that was not told of yet is not told of at all.
        self.told_first.retain(|first| match first {
            First::Assigned(assigned) => !partitions.contains(&assigned.partition),
            First::Revoked(_) | First::Lost(_) => true,
        });
        let removed = partitions.iter().filter_map(|p| Some((*p, self.lanes.remove(p)?)));
        removed.filter(|(_, lane)| lane.told).map(|(partition, _)| partition).collect()
    }

    pub(super) fn revoke(&mut self, revoked: Revoked) {
        self.told_first.push_back(First::Revoked(revoked));
    }

    pub(super) fn lose(&mut self, partitions: Vec<Partition>) {
        self.told_first.push_back(First::Lost(partitions));
    }

    pub(super) fn trouble(&mut self, error: Error) {
        if self.troubles.len() == TROUBLES {
            self.troubles.pop_front();
        }
        self.troubles.push_back(error);
    }

    pub(super) fn end(&mut self, why: String) {
        self.ended.get_or_insert(why);
    }
}
