//! The state that the consumer's thread and the source share.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use feedkit_core::source::{Assigned, Revoked, SourceEvent};
use feedkit_core::{Error, Partition, Result};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::lane::{Lane, Taken};
use super::records::TakenRecords;
use super::stats::Counters;

#[derive(Debug, Default)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Wakes the reader: there may be something to take.
    changed: Notify,
    /// Wakes the consumer: a lane has room, or there is something to do.
    room: Condvar,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) lanes: BTreeMap<Partition, Lane>,
    /// The events that the reader receives before any batch. Bounded by the number of partitions.
    first: VecDeque<First>,
    /// The newest errors that may pass.
    errors: VecDeque<Error>,
    /// Why no more events will come.
    ended: Option<String>,
    /// Questions of the reader.
    pub(super) questions: Vec<Question>,
    /// The source was dropped.
    pub(super) closing: bool,
    /// The partition that the reader took from last.
    last: Option<Partition>,
}

#[derive(Debug)]
enum First {
    Assigned(Assigned),
    Revoked(Revoked),
    Lost(Vec<Partition>),
}

/// Asks whether the partition is still ours, by the group's coordinator.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) partition: Partition,
    pub(super) reply: oneshot::Sender<Result<bool>>,
}

/// Maximum number of errors kept for a reader that does not ask for events.
const MAX_ERRORS: usize = 8;

enum Next {
    Event(SourceEvent),
    TakenRecords(TakenRecords),
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Tells the reader that there may be something to take.
    pub(super) fn wake_reader(&self) {
        self.changed.notify_one();
    }

    /// Tells the consumer that there is something to do.
    pub(super) fn wake_consumer(&self) {
        self.room.notify_one();
    }

    /// Waits until the consumer is woken, or until `time` has passed.
    pub(super) fn wait(&self, inner: &mut MutexGuard<'_, Inner>, time: Duration) {
        self.room.wait_for(inner, time);
    }

    /// Waits for the next event. Cancel-safe: an event is returned in the step that takes it.
    pub(super) async fn next(&self) -> Result<SourceEvent> {
        loop {
            if let Some(next) = self.take()? {
                return Ok(match next {
                    Next::Event(event) => event,
                    Next::TakenRecords(taken) => {
                        self.counters.taken(taken.count());
                        SourceEvent::Batch(taken.into_batch())
                    }
                });
            }
            // `Notify` keeps a permit if it was notified in between.
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Result<Option<Next>> {
        let mut inner = self.lock();
        if let Some(first) = inner.first.pop_front() {
            return Ok(Some(Next::Event(match first {
                First::Assigned(assigned) => {
                    if let Some(lane) = inner.lanes.get_mut(&assigned.partition) {
                        lane.announced = true;
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
                Taken::Records(taken) => Next::TakenRecords(taken),
                Taken::Gap(gap) => Next::Event(SourceEvent::Gap(gap)),
            }));
        }
        if let Some(ended) = &inner.ended {
            return Err(Error::fatal(ended.clone()));
        }
        match inner.errors.pop_front() {
            Some(trouble) => Err(trouble),
            None => Ok(None),
        }
    }
}

impl Inner {
    /// The partitions that are paused because their lanes are full.
    pub(super) fn held_back(&self) -> impl Iterator<Item = Partition> {
        self.lanes
            .iter()
            .filter(|(_, lane)| lane.is_reading() && lane.held_back)
            .map(|(partition, _)| *partition)
    }

    /// Takes from the lanes in turn, starting after the one that was taken from last.
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

    /// Adds a partition that was assigned to us.
    pub(super) fn assign(&mut self, partition: Partition, log: u128) {
        let (assigned, answer) = Assigned::new(partition, log);
        self.lanes.insert(partition, Lane::new(log, answer));
        self.first.push_back(First::Assigned(assigned));
    }

    /// Removes partitions that are no longer ours. Returns those that the reader knows of.
    pub(super) fn remove(&mut self, partitions: &[Partition]) -> Vec<Partition> {
        // If the reader has not received an assignment yet, it never receives it.
        self.first.retain(|first| match first {
            First::Assigned(assigned) => !partitions.contains(&assigned.partition),
            First::Revoked(_) | First::Lost(_) => true,
        });
        let removed = partitions.iter().filter_map(|p| Some((*p, self.lanes.remove(p)?)));
        removed.filter(|(_, lane)| lane.announced).map(|(partition, _)| partition).collect()
    }

    pub(super) fn revoke(&mut self, revoked: Revoked) {
        self.first.push_back(First::Revoked(revoked));
    }

    pub(super) fn lose(&mut self, partitions: Vec<Partition>) {
        self.first.push_back(First::Lost(partitions));
    }

    pub(super) fn push_error(&mut self, error: Error) {
        if self.errors.len() == MAX_ERRORS {
            self.errors.pop_front();
        }
        self.errors.push_back(error);
    }

    pub(super) fn end(&mut self, why: String) {
        self.ended.get_or_insert(why);
    }
}
