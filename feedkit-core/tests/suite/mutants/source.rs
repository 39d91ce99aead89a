//! Event sources with faults.

use std::collections::VecDeque;

use async_trait::async_trait;
use tokio::sync::oneshot;

use feedkit_core::memory::MemoryReader;
use feedkit_core::source::{Assigned, Batch, EventSource, Resume, RevokeGuard, Revoked, SourceEvent};
use feedkit_core::{Partition, Positions, Result};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantSource`].
    SourceFault {
        /// Reads before the assignment is answered.
        ReadsUnanswered,
        /// Reads from the beginning, regardless of the answer.
        IgnoresOffset,
        /// Does not compare the last known record.
        IgnoresMark,
        /// Does not compare the incarnation of the log.
        IgnoresIncarnation,
        /// Reads a partition whose assignment was dropped without an answer.
        ReadsUnwanted,
        /// Leaves holes between batches.
        LeavesHoles,
        /// Loses a record.
        LosesRecord,
        /// Yields records in the opposite order.
        RecordsBackwards,
        /// Never reports the end of a partition.
        NeverAtEnd,
        /// Reports a wrong end of the log.
        EndsShort,
        /// Yields a batch of a revoked partition.
        YieldsAfterRevoke,
        /// Does not wait for guards.
        DropsGuards,
        /// Does not report lost partitions.
        HidesLoss,
        /// Claims to hold every partition.
        HoldsForEver,
        /// Claims to hold no partition.
        HoldsNothing,
        /// Does not report gaps.
        HidesGaps,
        /// Reports a gap twice.
        GapTwice,
        /// Reports a wrong reason of a gap.
        MistakesGaps,
        /// Yields records of a paused partition.
        IgnoresPause,
        /// Does not resume a paused partition.
        IgnoresResume,
        /// Pauses a partition that is not assigned.
        PausesUnassigned,
        /// Loses an event when `next` is dropped.
        LosesOnCancel,
    }
}

/// A source with one fault.
pub(crate) struct MutantSource {
    inner: MemoryReader,
    fault: SourceFault,
    /// The assignments of the inner source that are not answered yet, with the receivers of the
    /// answers.
    asked: Vec<(Assigned, oneshot::Receiver<Resume>)>,
    /// The events to yield before any other.
    first: VecDeque<SourceEvent>,
    paused: Vec<Partition>,
}

impl MutantSource {
    /// Creates a source with this fault. Otherwise it reads like `reader`.
    pub(crate) fn new(reader: MemoryReader, fault: SourceFault) -> Self {
        MutantSource { inner: reader, fault, asked: Vec::new(), first: VecDeque::new(), paused: Vec::new() }
    }

    fn is(&self, fault: SourceFault) -> bool {
        self.fault == fault
    }

    /// Passes on the answers that have arrived, changed by the fault.
    fn pass_on(&mut self) {
        let mut waiting = Vec::new();
        for (assigned, mut answer) in std::mem::take(&mut self.asked) {
            match answer.try_recv() {
                Ok(resume) => assigned.resume(match self.fault {
                    SourceFault::IgnoresOffset => Resume::default(),
                    SourceFault::IgnoresMark => Resume { last: None, ..resume },
                    SourceFault::IgnoresIncarnation => Resume { log: None, ..resume },
                    _ => resume,
                }),
                Err(oneshot::error::TryRecvError::Closed) if self.is(SourceFault::ReadsUnwanted) => {
                    assigned.resume(Resume::default());
                }
                Err(oneshot::error::TryRecvError::Closed) => {}
                Err(oneshot::error::TryRecvError::Empty) => waiting.push((assigned, answer)),
            }
        }
        self.asked = waiting;
    }

    fn assigned(&mut self, inner: Assigned) -> SourceEvent {
        let (partition, log) = (inner.partition, inner.log);
        if self.is(SourceFault::PausesUnassigned) && self.paused.contains(&partition) {
            self.inner.pause(partition);
        }
        let (outer, answer) = Assigned::new(partition, log);
        match self.fault {
            SourceFault::ReadsUnanswered => inner.resume(Resume::default()),
            _ => self.asked.push((inner, answer)),
        }
        SourceEvent::Assigned(outer)
    }

    fn batch(&self, mut batch: Batch) -> Option<Batch> {
        match self.fault {
            SourceFault::LeavesHoles => {
                batch.from = batch.records.first()?.offset;
                batch.to = batch.records.last()?.offset + 1;
            }
            SourceFault::LosesRecord if batch.records.len() > 1 => drop(batch.records.pop()),
            SourceFault::RecordsBackwards => batch.records.reverse(),
            SourceFault::NeverAtEnd => batch.at_end = false,
            _ => {}
        }
        Some(batch)
    }
}

#[async_trait]
impl EventSource for MutantSource {
    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            if let Some(event) = self.first.pop_front() {
                return Ok(event);
            }
            self.pass_on();
            let event = self.inner.next().await?;
            if self.is(SourceFault::LosesOnCancel) {
                tokio::task::yield_now().await;
            }
            return Ok(match event {
                SourceEvent::Assigned(assigned) => self.assigned(assigned),
                SourceEvent::Batch(batch) => match self.batch(batch) {
                    Some(batch) => SourceEvent::Batch(batch),
                    None => continue,
                },
                SourceEvent::Revoked(revoked) if self.is(SourceFault::DropsGuards) => {
                    SourceEvent::Revoked(Revoked { guard: RevokeGuard::default(), ..revoked })
                }
                SourceEvent::Revoked(revoked) if self.is(SourceFault::YieldsAfterRevoke) => {
                    let (partition, records) = (revoked.partitions[0], Vec::new());
                    let stale = Batch { partition, from: 0, to: 1, at_end: true, records };
                    self.first.push_back(SourceEvent::Batch(stale));
                    SourceEvent::Revoked(revoked)
                }
                SourceEvent::Lost(_) if self.is(SourceFault::HidesLoss) => continue,
                SourceEvent::Gap(_) if self.is(SourceFault::HidesGaps) => continue,
                SourceEvent::Gap(gap) if self.is(SourceFault::GapTwice) => {
                    self.first.push_back(SourceEvent::Gap(gap.clone()));
                    SourceEvent::Gap(gap)
                }
                SourceEvent::Gap(mut gap) if self.is(SourceFault::MistakesGaps) => {
                    gap.reason = feedkit_core::source::GapReason::Expired;
                    SourceEvent::Gap(gap)
                }
                other => other,
            });
        }
    }

    fn pause(&mut self, partition: Partition) {
        self.paused.push(partition);
        if !self.is(SourceFault::IgnoresPause) {
            self.inner.pause(partition);
        }
    }

    fn resume(&mut self, partition: Partition) {
        if !self.is(SourceFault::IgnoresResume) {
            self.inner.resume(partition);
        }
    }

    async fn ends(&mut self) -> Result<Positions> {
        let ends = self.inner.ends().await?;
        Ok(match self.fault {
            SourceFault::EndsShort => ends.iter().map(|(p, o)| (p, o.saturating_sub(1))).collect(),
            _ => ends,
        })
    }

    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        match self.fault {
            SourceFault::HoldsForEver => Ok(true),
            SourceFault::HoldsNothing => Ok(false),
            _ => self.inner.still_held(partition).await,
        }
    }
}
