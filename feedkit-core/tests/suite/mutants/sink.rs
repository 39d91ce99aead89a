//! Event sinks with faults.

use async_trait::async_trait;
use bytes::Bytes;

use feedkit_core::memory::MemoryLog;
use feedkit_core::sink::NewRecord;
use feedkit_core::{EventSink, Position, Result};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantSink`].
    SinkFault {
        /// Writes a batch in the opposite order.
        Reorders,
        /// Returns one outcome too few.
        LosesOutcome,
        /// Returns the outcomes in the opposite order.
        OutcomesReversed,
        /// Acknowledges the offset of the record instead of the next one.
        PositionOfRecord,
        /// Acknowledges a record that it did not write.
        LosesRecord,
        /// Writes a record twice.
        WritesTwice,
        /// Writes records with the same key to several partitions.
        IgnoresKeys,
        /// Changes long records.
        CutsValues,
        /// Writes something for an empty batch.
        EmptyBatchWrites,
        /// Accepts only valid text.
        ChangesBytes,
        /// Writes a record in parts.
        WritesInParts,
    }
}

/// A sink with one fault.
pub(crate) struct MutantSink {
    inner: MemoryLog,
    fault: SinkFault,
}

impl MutantSink {
    /// Creates a sink with this fault. It writes to `log`.
    pub(crate) fn new(log: MemoryLog, fault: SinkFault) -> Self {
        MutantSink { inner: log, fault }
    }
}

#[async_trait]
impl EventSink for MutantSink {
    async fn send(&self, mut batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        match self.fault {
            SinkFault::Reorders => batch.reverse(),
            SinkFault::IgnoresKeys => {
                // The records keep their keys, but the keys do not determine the partition.
                let mut outcomes = Vec::new();
                for record in batch {
                    let partition = feedkit_core::Partition(outcomes.len() as u32 / 2 % 3);
                    let time = feedkit_core::Timestamp::EPOCH;
                    let offset = self.inner.append(partition, time, record.key, record.value) + 1;
                    outcomes.push(Ok(Position { partition, offset }));
                }
                return outcomes;
            }
            SinkFault::CutsValues => batch.iter_mut().for_each(|r| r.value.truncate(10_000)),
            SinkFault::EmptyBatchWrites if batch.is_empty() => {
                self.inner.send(vec![NewRecord::keyed("nobody", Bytes::new())]).await;
            }
            SinkFault::WritesTwice if batch.len() > 1 => {
                let first = batch[0].clone();
                self.inner.send(vec![first]).await;
            }
            SinkFault::ChangesBytes => {
                let text = |r: &NewRecord| String::from_utf8_lossy(&r.value).into_owned();
                batch.iter_mut().for_each(|r| r.value = text(r).into());
            }
            SinkFault::WritesInParts if batch.iter().any(|r| r.value.len() == 1000) => {
                let half = |r: &NewRecord| NewRecord { key: r.key.clone(), value: r.value.slice(..500) };
                self.inner.send(batch.iter().map(half).collect()).await;
                tokio::task::yield_now().await;
            }
            SinkFault::LosesRecord if batch.len() > 1 => {
                batch.pop();
                let mut outcomes = self.inner.send(batch).await;
                if let Some(Ok(last)) = outcomes.last() {
                    outcomes.push(Ok(Position { offset: last.offset + 1, ..*last }));
                }
                return outcomes;
            }
            _ => {}
        }
        let mut outcomes = self.inner.send(batch).await;
        match self.fault {
            SinkFault::Reorders | SinkFault::OutcomesReversed => outcomes.reverse(),
            SinkFault::LosesOutcome if outcomes.len() > 1 => drop(outcomes.pop()),
            SinkFault::PositionOfRecord => outcomes.iter_mut().flatten().for_each(|p| p.offset -= 1),
            _ => {}
        }
        outcomes
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }
}
