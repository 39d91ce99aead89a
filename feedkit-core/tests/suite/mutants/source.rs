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
        /// Reads before it was told where from.
        ReadsUnanswered,
        /// Reads from the beginning, wherever it is to resume.
        IgnoresOffset,
        /// Does not look at the last record known.
        IgnoresMark,
        /// Does not look at the log's incarnation.
        IgnoresIncarnation,
        /// Reads where nobody answered.
        ReadsUnwanted,
        /// Leaves holes between batches.
        LeavesHoles,
        /// Loses a record.
        LosesRecord,
        /// Yields records in the opposite order.
        RecordsBackwards,
        /// Never says that it is at the end.
        NeverAtEnd,
        /// Says an end that is not.
        EndsShort,
        /// Yields a batch of what was revoked.
        YieldsAfterRevoke,
        /// Does not wait for guards.
        DropsGuards,
        /// Does not tell of losses.
        HidesLoss,
        /// Holds everything for ever.
        HoldsForEver,
        /// Holds nothing.
        HoldsNothing,
        /// Says nothing of gaps.
        HidesGaps,
        /// Tells of a gap twice.
        GapTwice,
        /// Mistakes the reason of a gap.
        MistakesGaps,
        /// Reads on though paused.
        IgnoresPause,
        /// Stays paused.
        IgnoresResume,
        /// Pauses what is not assigned.
        PausesUnassigned,
        /// Loses an event when `next` is dropped.
        LosesOnCancel,
    }
}

/// A source with one fault.
pub(crate) struct MutantSource {
    inner: MemoryReader,
    fault: SourceFault,
    /// Assignments not passed on yet, with the answers that are waited for.
    asked: Vec<(Assigned, oneshot::Receiver<Resume>)>,
    /// What comes before anything else.
    first: VecDeque<SourceEvent>,
    paused: Vec<Partition>,
}

impl MutantSource {
    /// A source with this fault, that reads as `reader` does.
    pub(crate) fn new(reader: MemoryReader, fault: SourceFault) -> Self {
        MutantSource { inner: reader, fault, asked: Vec::new(), first: VecDeque::new(), paused: Vec::new() }
    }

    fn is(&self, fault: SourceFault) -> bool {
        self.fault == fault
    }

    /// Passes answers on that have come, changed as the fault wants it.
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
