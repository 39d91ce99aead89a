//! A reader of the log in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::group::{GroupName, Told};
use super::partition::PartitionLog;
use super::{MemoryLog, State};
use crate::source::{Assigned, Batch, EventSource, Gap, Record, Resume, Revoked, SourceEvent, check_resume};
use crate::{Partition, Positions, Result};

/// A reader of a [`MemoryLog`]. It leaves its group when it is dropped.
pub struct MemoryReader {
    log: MemoryLog,
    group: GroupName,
    member: u64,
    reading: BTreeMap<Partition, Reading>,
    paused: BTreeSet<Partition>,
    /// The partition to look at first, so that each partition gets its turn.
    turn: Partition,
}

/// The state of an assigned partition.
enum Reading {
    /// The reader has not yet answered where to resume. Contains the incarnation that it was told.
    Awaiting(oneshot::Receiver<Resume>, u128),
    /// Where to read next, and what lies before it.
    At(Resume),
    /// The partition has a gap, or the assignment was dropped.
    Stopped,
}

impl MemoryReader {
    pub(super) fn join(log: MemoryLog, group: impl FnOnce(u64) -> GroupName) -> Self {
        let mut state = log.state();
        let member = state.next_member;
        state.next_member += 1;
        let group = group(member);
        let partitions = state.partitions.len();
        state.groups.entry(group.clone()).or_default().join(member, partitions);
        drop(state);
        log.0.changed.0.notify_waiters();
        MemoryReader {
            log,
            group,
            member,
            reading: BTreeMap::new(),
            paused: BTreeSet::new(),
            turn: Partition(0),
        }
    }

    /// The name of this reader among all readers of the log, for [`MemoryLog::expel`].
    pub fn member(&self) -> u64 {
        self.member
    }

    /// Takes the next event, if there is one. The caller must yield it.
    fn take(&mut self) -> Option<SourceEvent> {
        let log = self.log.clone();
        let mut state = log.state();
        let waker = log.waker();
        loop {
            let partitions = state.partitions.len();
            let incarnation = state.incarnation;
            let group = state.groups.entry(self.group.clone()).or_default();
            return match group.tell(self.member, &waker) {
                Some(Told::Lost) => {
                    // Includes partitions that are being revoked: others may hold them now.
                    group.join(self.member, partitions);
                    self.paused.clear();
                    let lost: Vec<_> = std::mem::take(&mut self.reading).into_keys().collect();
                    log.0.changed.0.notify_waiters();
                    if lost.is_empty() {
                        continue;
                    }
                    Some(SourceEvent::Lost(lost))
                }
                Some(Told::Revoked(partitions, guard)) => {
                    self.reading.retain(|p, _| !partitions.contains(p));
                    self.paused.retain(|p| !partitions.contains(p));
                    Some(SourceEvent::Revoked(Revoked {
                        partitions: partitions.into_iter().collect(),
                        guard,
                    }))
                }
                Some(Told::Assigned(partition)) => {
                    let (assigned, answer) = Assigned::new(partition, incarnation);
                    self.reading.insert(partition, Reading::Awaiting(answer, incarnation));
                    Some(SourceEvent::Assigned(assigned))
                }
                None => self.read(&state),
            };
        }
    }

    /// The records or the gap of the next partition that has any.
    fn read(&mut self, state: &State) -> Option<SourceEvent> {
        let waker = self.log.waker();
        let turn = self.turn;
        let order = self.reading.range(turn..).chain(self.reading.range(..turn));
        let order: Vec<_> = order.map(|(p, _)| *p).collect();
        for partition in order {
            let Some(reading) = self.reading.get_mut(&partition) else { continue };
            if let Reading::Awaiting(answer, told) = reading {
                let told = *told;
                match Pin::new(answer).poll(&mut Context::from_waker(&waker)) {
                    Poll::Pending => continue,
                    Poll::Ready(Ok(resume)) => {
                        *reading = Reading::At(Resume { log: resume.log.or(Some(told)), ..resume })
                    }
                    Poll::Ready(Err(_)) => *reading = Reading::Stopped,
                }
            }
            let Reading::At(at) = reading else { continue };
            if self.paused.contains(&partition) {
                continue;
            }
            let log = &state.partitions[partition.0 as usize];
            match step(partition, at, log, state.incarnation, self.log.0.max_batch) {
                Ok(None) => continue,
                Ok(Some(batch)) => {
                    self.turn = Partition(partition.0 + 1);
                    return Some(SourceEvent::Batch(batch));
                }
                Err(gap) => {
                    *reading = Reading::Stopped;
                    return Some(SourceEvent::Gap(gap));
                }
            }
        }
        None
    }
}

/// The next batch of a partition, if there is one. Moves `at` behind it.
fn step(
    partition: Partition,
    at: &mut Resume,
    log: &PartitionLog,
    incarnation: u128,
    limit: usize,
) -> Result<Option<Batch>, Gap> {
    let mark = at.last.and_then(|known| log.mark(known.offset));
    check_resume(partition, at, incarnation, log.start..log.end, mark)?;
    if at.offset == log.end {
        return Ok(None);
    }
    let (records, to) = log.read(at.offset, limit);
    let batch = Batch { partition, from: at.offset, to, at_end: to == log.end, records };
    let last = batch.records.last().map(Record::mark).or(at.last);
    *at = Resume { offset: to, log: Some(incarnation), last };
    Ok(Some(batch))
}

#[async_trait]
impl EventSource for MemoryReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        let changed = self.log.0.changed.clone();
        loop {
            // Starts to listen before it looks, so that it misses no change.
            let mut notified = pin!(changed.0.notified());
            notified.as_mut().enable();
            if let Some(event) = self.take() {
                return Ok(event);
            }
            notified.await;
        }
    }

    fn pause(&mut self, partition: Partition) {
        if self.reading.contains_key(&partition) {
            self.paused.insert(partition);
        }
    }

    fn resume(&mut self, partition: Partition) {
        self.paused.remove(&partition);
        self.log.0.changed.0.notify_waiters();
    }

    async fn ends(&mut self) -> Result<Positions> {
        Ok(self.log.ends())
    }

    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        let state = self.log.state();
        Ok(state.groups.get(&self.group).is_some_and(|g| g.holds(self.member, partition)))
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        let mut state = self.log.state();
        let partitions = state.partitions.len();
        if let Some(group) = state.groups.get_mut(&self.group) {
            group.leave(self.member, partitions);
            if group.is_empty() {
                state.groups.remove(&self.group);
            }
        }
        drop(state);
        self.log.0.changed.0.notify_waiters();
    }
}
