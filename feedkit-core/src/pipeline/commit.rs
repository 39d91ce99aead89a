//! Commits a batch, until it is committed or belongs to another process.

use std::sync::Arc;

use bytes::Bytes;

use super::retry::{Backoff, Waits};
use crate::codec::{InvalidEvent, InvalidReason};
use crate::failpoint::{self, stage};
use crate::history::{Claim, CommitBatch, CommitCounts, Committed, History, JournalRead, Rejected};
use crate::{Error, ErrorKind, JsonCodec, Offset, Result, Timestamp};

/// Commits `batch`, and tries again as long as the error may pass. Calls `trouble` for each failed
/// attempt.
///
/// If the history cannot store a batch, the batch is halved until the record at fault is alone.
/// That record is rejected. The result is therefore one entry or several, in order.
///
/// # Errors
///
/// `Fenced` and `Gap`: the partition has another position, or belongs to another process. Any other
/// error needs a person.
///
/// # Cancellation
///
/// Finished commits stay. The outcome of a running commit is uncertain, as after a crash.
pub(super) async fn commit(
    history: &dyn History,
    batch: Arc<CommitBatch>,
    backoff: Backoff,
    mut trouble: impl FnMut(&Error),
) -> Result<Vec<Committed>> {
    let mut done = Vec::with_capacity(1);
    // A stack of the batches that are not committed yet. The next one is on top.
    let mut todo = vec![batch];
    let mut waits = backoff.waits();
    while let Some(batch) = todo.pop() {
        failpoint::reach(stage::BEFORE_COMMIT);
        match history.commit(batch.clone()).await {
            Ok(committed) => {
                failpoint::reach(stage::AFTER_COMMIT);
                done.push(committed);
                waits.reset();
            }
            Err(error) => match error.kind() {
                ErrorKind::Retriable => {
                    trouble(&error);
                    waits.sleep().await;
                    todo.push(batch);
                }
                ErrorKind::Uncertain => {
                    trouble(&error);
                    match settle(history, &batch, &mut waits).await? {
                        Some(committed) => done.push(committed),
                        None => todo.push(batch),
                    }
                }
                ErrorKind::Data => todo.extend(split(&batch, &error)?.into_iter().rev().map(Arc::new)),
                _ => return Err(error),
            },
        }
    }
    Ok(done)
}

/// Finds out whether a commit of unknown outcome took effect.
async fn settle(history: &dyn History, batch: &CommitBatch, waits: &mut Waits) -> Result<Option<Committed>> {
    loop {
        match settled(history, batch).await {
            Err(error) if error.kind().may_pass() => {
                tracing::warn!(partition = batch.partition.0, %error, "cannot settle a commit yet");
                waits.sleep().await;
            }
            outcome => return outcome,
        }
    }
}

async fn settled(history: &dyn History, batch: &CommitBatch) -> Result<Option<Committed>> {
    let (partition, from, to) = (batch.partition, batch.from, batch.to);
    let claim = history.claimed(partition).await?;
    if claim.epoch != batch.epoch {
        return Err(Error::fenced(format!(
            "another process claimed partition {partition}: epoch {}, ours was {}",
            claim.epoch, batch.epoch
        )));
    }
    match claim.position {
        at if at == from => Ok(None),
        at if at == to => {
            let JournalRead::Entries(entries) = history.journal(partition, from, 1).await? else {
                return Err(Error::corrupt(format!("partition {partition}: the journal ends before {from}")));
            };
            let entry =
                entries.into_iter().find(|entry| entry.from == from && entry.to == to).ok_or_else(|| {
                    Error::corrupt(format!(
                        "partition {partition}: no journal entry for offsets {from} to {to}"
                    ))
                })?;
            let counts = CommitCounts {
                // The journal does not tell which of the events were duplicates.
                accepted: batch.events.len() as u64,
                duplicates: 0,
                rejected: batch.rejected.len() as u64,
                effects: entry.effects.len() as u64,
            };
            Ok(Some(Committed { entry, counts }))
        }
        at => {
            Err(Error::gap(format!("partition {partition} stands at {at} after a commit of {from} to {to}")))
        }
    }
}

/// The rest of a batch after a new claim whose position lies inside the batch.
pub(super) fn rest(batch: &CommitBatch, claim: &Claim, now: Timestamp) -> CommitBatch {
    CommitBatch { epoch: claim.epoch, now, ..part(batch, claim.position, batch.to) }
}

/// The part of a batch between two offsets.
fn part(batch: &CommitBatch, from: Offset, to: Offset) -> CommitBatch {
    let is_last = to == batch.to;
    CommitBatch {
        from,
        to,
        at_end: batch.at_end && is_last,
        events: batch.events.iter().filter(|e| (from..to).contains(&e.offset)).cloned().collect(),
        rejected: batch.rejected.iter().filter(|r| (from..to).contains(&r.offset)).cloned().collect(),
        last: batch.last.filter(|_| is_last),
        ..*batch
    }
}

/// Halves a batch that cannot be stored. A single event becomes a rejected record. A single
/// rejected record is stored without its value. If the history cannot store even that, the record
/// is not at fault.
fn split(batch: &CommitBatch, error: &Error) -> Result<Vec<CommitBatch>> {
    let CommitBatch { from, to, .. } = *batch;
    let mut offsets: Vec<_> = batch.events.iter().map(|e| e.offset).collect();
    offsets.extend(batch.rejected.iter().map(|r| r.offset));
    offsets.sort_unstable();
    if offsets.len() > 1 {
        let middle = offsets[offsets.len() / 2];
        return Ok(vec![part(batch, from, middle), part(batch, middle, to)]);
    }
    let rejected = match (batch.events.first(), batch.rejected.first()) {
        (Some(logged), _) => {
            tracing::warn!(partition = batch.partition.0, offset = logged.offset, %error, "an event is rejected: the history cannot store it");
            let value = JsonCodec::encode(&logged.event);
            let fault =
                InvalidEvent { reason: InvalidReason::Unstorable, field: None, detail: error.to_string() };
            rejected_event(logged.offset, logged.event.time, fault, value)
        }
        (None, Some(record)) if !record.value.is_empty() => {
            Rejected { value: Bytes::new(), ..record.clone() }
        }
        _ => {
            let message = format!("the history refuses a batch in which no record can be at fault: {error}");
            return Err(Error::corrupt(message));
        }
    };
    Ok(vec![CommitBatch { events: Vec::new(), rejected: vec![rejected], ..batch.clone() }])
}

fn rejected_event(offset: u64, time: crate::Timestamp, fault: InvalidEvent, value: Bytes) -> Rejected {
    let record = crate::source::Record { offset, time, key: None, value };
    Rejected::new(&record, fault)
}
