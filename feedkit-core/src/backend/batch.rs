//! The checks of a batch before a history commits it.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::codec::{InvalidEvent, InvalidReason};
use crate::effect::{LoggedEvent, remove_repeats};
use crate::history::{Claim, CommitBatch, Rejected};
use crate::source::Record;
use crate::{Error, JsonCodec, Result, Timestamp};

/// Checks that `group` may claim partitions of a history that belongs to the consumer group
/// `owner`.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) if it is another group.
pub fn check_group(owner: &str, group: &str) -> Result<()> {
    match owner == group {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("this history belongs to consumer group {owner:?}, not to {group:?}")))
        }
    }
}

/// Checks that a batch follows on what the history holds of its partition: the epoch, the position
/// and the log's incarnation are the same.
///
/// # Errors
///
/// [`Fenced`](crate::ErrorKind::Fenced) if the partition was claimed with another epoch;
/// [`Gap`](crate::ErrorKind::Gap) if the batch begins elsewhere or belongs to another log.
pub fn check_claim(claim: &Claim, batch: &CommitBatch) -> Result<()> {
    let CommitBatch { partition, epoch, log, from, .. } = *batch;
    if claim.epoch != epoch || epoch == 0 {
        return Err(Error::fenced(format!(
            "another process has claimed partition {partition}: its epoch is {}, and the batch has epoch {epoch}",
            claim.epoch
        )));
    }
    if claim.position != from {
        return Err(Error::gap(format!(
            "partition {partition} is at {}, but the batch begins at {from}",
            claim.position
        )));
    }
    match claim.log.filter(|known| *known != log) {
        None => Ok(()),
        Some(known) => Err(Error::gap(format!(
            "partition {partition} belongs to log {known:032x}, but the batch to log {log:032x}"
        ))),
    }
}

/// Checks a batch by itself: it is not empty, its events and rejected records are in the order of
/// their offsets, and all offsets lie within its range. Databases store offsets and epochs as
/// signed integers of 64 bits, so larger ones are refused.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) if any of this does not hold.
pub fn check_order(batch: &CommitBatch) -> Result<()> {
    let CommitBatch { partition, epoch, from, to, .. } = *batch;
    let events = batch.events.iter().map(|logged| logged.offset);
    let rejected = batch.rejected.iter().map(|record| record.offset);
    let is_inside = |offset| (from..to).contains(&offset);
    let fits = i64::try_from(to).is_ok() && i64::try_from(epoch).is_ok();
    let is_sorted = events.clone().is_sorted() && rejected.clone().is_sorted();
    if from < to && fits && is_sorted && events.chain(rejected).all(is_inside) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a batch of partition {partition} is not in order within its range {from} to {to}"
    )))
}

/// Removes the events whose identity an earlier event of the batch has, and returns how many it
/// removed. A batch without such events, as most are, is not copied.
pub fn without_repeats(batch: Arc<CommitBatch>) -> (Arc<CommitBatch>, usize) {
    let mut seen = HashSet::with_capacity(batch.events.len());
    let is_unique = batch.events.iter().all(|logged| seen.insert((logged.event.id, &logged.event.user)));
    drop(seen);
    if is_unique {
        return (batch, 0);
    }
    let mut unique = (*batch).clone();
    let repeats = remove_repeats(&mut unique.events);
    (Arc::new(unique), repeats)
}

/// Whether retention may have dropped an event with the same identity: all ids before
/// `dropped_until` are gone, so that a repeat can no longer be told from a new event.
pub fn is_too_old(logged: &LoggedEvent, dropped_until: Option<Timestamp>) -> bool {
    dropped_until.is_some_and(|dropped_until| logged.event.id.time() < dropped_until)
}

/// The rejected record in place of an event that [is too old](is_too_old).
pub fn reject_too_old(logged: &LoggedEvent) -> Rejected {
    let detail = format!("was created at {}, before the oldest stored events", logged.event.id.time());
    let fault = InvalidEvent { reason: InvalidReason::TooOld, field: Some("id".to_owned()), detail };
    let value = JsonCodec::encode(&logged.event);
    Rejected::new(&Record { offset: logged.offset, time: logged.event.time, key: None, value }, fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Event, EventId, EventKind, Partition, PostId, UserId};

    fn event(offset: u64, id: i64, user: &str) -> LoggedEvent {
        let time = Timestamp::from_millis(id);
        LoggedEvent {
            offset,
            event: Event {
                id: EventId::derived(time, 1),
                user: UserId::new(user).unwrap(),
                post: PostId::new("p").unwrap(),
                kind: EventKind::Like,
                time,
                received_at: None,
                text: None,
                attributes: Default::default(),
            },
        }
    }

    fn batch(offsets: &[u64]) -> CommitBatch {
        CommitBatch {
            partition: Partition(3),
            epoch: 2,
            log: 7,
            from: 10,
            to: 20,
            at_end: false,
            events: offsets.iter().map(|offset| event(*offset, *offset as i64, "u")).collect(),
            rejected: Vec::new(),
            last: None,
            now: Timestamp::EPOCH,
        }
    }

    #[test]
    fn a_batch_follows_on_epoch_position_and_log() {
        let claim = Claim { epoch: 2, position: 10, log: Some(7), last: None };
        let check = |claim| check_claim(&claim, &batch(&[])).map_err(|e| e.kind());
        assert_eq!(check(claim), Ok(()));
        assert_eq!(check(Claim { log: None, ..claim }), Ok(()));
        assert_eq!(check(Claim { epoch: 3, ..claim }), Err(ErrorKind::Fenced));
        assert_eq!(check(Claim { position: 9, ..claim }), Err(ErrorKind::Gap));
        assert_eq!(check(Claim { log: Some(8), ..claim }), Err(ErrorKind::Gap));
        let unclaimed = CommitBatch { epoch: 0, from: 0, ..batch(&[]) };
        assert_eq!(check_claim(&Claim::default(), &unclaimed).unwrap_err().kind(), ErrorKind::Fenced);
    }

    #[test]
    fn a_batch_is_in_order_within_its_range() {
        let large = i64::MAX as u64 + 1;
        for (batch, is_ok) in [
            (batch(&[]), true),
            (batch(&[10, 12, 19]), true),
            (batch(&[12, 11]), false),
            (batch(&[9]), false),
            (batch(&[20]), false),
            (CommitBatch { to: 10, ..batch(&[]) }, false),
            (CommitBatch { to: large, ..batch(&[]) }, false),
            (CommitBatch { epoch: large, ..batch(&[]) }, false),
        ] {
            let checked = check_order(&batch).map_err(|e| e.kind());
            assert_eq!(checked, if is_ok { Ok(()) } else { Err(ErrorKind::Invalid) }, "{batch:?}");
        }
    }

    #[test]
    fn repeats_go_and_a_batch_without_any_is_not_copied() {
        let unique = Arc::new(batch(&[10, 11]));
        let (same, repeats) = without_repeats(Arc::clone(&unique));
        assert!(Arc::ptr_eq(&unique, &same) && repeats == 0);
        let events = vec![event(10, 1, "u"), event(11, 1, "v"), event(12, 1, "u")];
        let (rest, repeats) = without_repeats(Arc::new(CommitBatch { events, ..batch(&[]) }));
        assert_eq!((rest.events.iter().map(|e| e.offset).collect::<Vec<_>>(), repeats), (vec![10, 11], 1));
    }

    #[test]
    fn what_was_made_before_the_oldest_events_is_too_old() {
        let horizon = Some(Timestamp::from_millis(5));
        assert!(is_too_old(&event(1, 4, "u"), horizon) && !is_too_old(&event(1, 5, "u"), horizon));
        assert!(!is_too_old(&event(1, 4, "u"), None));
        let rejected = reject_too_old(&event(1, 4, "u"));
        assert_eq!((rejected.offset, rejected.fault.reason), (1, InvalidReason::TooOld));
    }
}
