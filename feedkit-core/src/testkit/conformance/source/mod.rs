//! The suite of event sources.

mod gaps;
mod groups;
mod reader;

use std::collections::BTreeSet;

use self::gaps::*;
use self::groups::*;
use self::reader::Reader;
use crate::source::{Gap, GapReason, Resume};
use crate::testkit::conformance::log::{LogHarness, Named, keys, send};
use crate::testkit::conformance::sentence::Sentence;
use crate::{EventSource, Offset, Partition, Positions};

/// Tests the contract of [`EventSource`] on members of groups and on broadcast readers.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn source<L: LogHarness>(fresh: impl AsyncFn() -> L) {
    nothing_comes_before_the_answer(&fresh().await).await;
    an_assignment_without_an_answer_is_not_read(&fresh().await).await;
    batches_are_contiguous(&fresh().await).await;
    holes_are_moved_over(&fresh().await).await;
    a_paused_partition_is_silent(&fresh().await).await;
    a_dropped_next_loses_nothing(&fresh().await).await;
    broadcast_readers_each_see_all(&fresh().await).await;
    a_revoked_partition_waits_for_its_guard(&fresh().await).await;
    a_reader_that_leaves_makes_room(&fresh().await).await;
    a_lost_partition_is_silent(&fresh().await).await;
    an_expired_offset_is_a_gap(&fresh().await).await;
    a_truncated_log_is_a_gap(&fresh().await).await;
    a_log_made_anew_is_a_gap(&fresh().await).await;
    records_lost_under_way_are_a_gap(&fresh().await).await;
}

/// Sends `count` numbered values under `key`. Returns their partition, and the offset after the
/// last.
async fn fill(says: Sentence, log: &dyn LogHarness, key: &str, count: usize) -> (Partition, Offset) {
    let values: Vec<_> = (0..count).map(|i| format!("{key} {i:03}")).collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    let last = *send(says, log, key, &values).await.last().unwrap_or_else(|| says.broken("nothing is sent"));
    (last.partition, last.offset)
}

async fn ends(says: Sentence, source: &mut dyn EventSource) -> Positions {
    says.ok("ends", says.ends("ends", source.ends()).await)
}

async fn nothing_comes_before_the_answer(log: &impl LogHarness) {
    let says = Sentence(
        "the first event of a partition is Assigned, and the source yields nothing else of it until the reader has answered",
    );
    for key in keys(says, log).await {
        fill(says, log, &key, 20).await;
    }
    for broadcast in [true, false] {
        let source = if broadcast { log.broadcast().await } else { log.member("g").await.source };
        let mut reader = Reader::new(log, source);
        reader.until_assigned(says).await;
        reader.listen(says).await;
        says.equal("records read before the answer", reader.count(), 0);
        let says = Sentence("reading starts at the offset of the answer");
        let partition = Partition(1);
        reader.answer(says, partition, Resume { offset: 12, ..Resume::default() });
        reader.until(says, "reading", |r| r.ended.contains(&partition)).await;
        let first = reader.records[&partition].first().map(|r| r.offset);
        says.equal("the first record", first, Some(12));
        let says =
            Sentence("the source yields nothing of a partition without an answer, even if another has one");
        reader.listen(says).await;
        says.equal("partitions read", reader.records.keys().copied().collect::<Vec<_>>(), vec![partition]);
        let incarnations: BTreeSet<_> = reader.assigned.values().map(|a| a.log).collect();
        says.equal("incarnations of the log", incarnations.len(), 1);
    }
}

async fn an_assignment_without_an_answer_is_not_read(log: &impl LogHarness) {
    let says = Sentence("the source does not read a partition whose assignment is dropped without an answer");
    let (partition, _) = fill(says, log, "a", 5).await;
    let mut reader = Reader::broadcast(log).await;
    reader.until_assigned(says).await;
    reader.assigned.remove(&partition);
    reader.settle(says).await;
    fill(says, log, "a", 5).await;
    reader.settle(says).await;
    says.equal("records of it", reader.values(partition).len(), 0);
}

async fn batches_are_contiguous(log: &impl LogHarness) {
    let says =
        Sentence("the batches of a partition are contiguous, and contain all its records in ascending order");
    let (partition, end) = fill(says, log, "a", 60).await;
    let mut reader = Reader::broadcast(log).await;
    reader.settle(says).await;
    let expected: Vec<_> = (0..60).map(|i| format!("a {i:03}")).collect();
    says.equal("values", reader.values(partition), expected.clone());
    let says_end = Sentence(
        "at_end tells that the log held no further records of the partition when the batch was read",
    );
    says_end.holds(reader.ended.contains(&partition), "the last batch is not at the end");
    says_end.equal("read up to", reader.at.get(&partition).copied(), Some(end));
    let says_ends =
        Sentence("ends returns the offset of the next record to be written for every partition of the log");
    let found = ends(says_ends, &mut *reader.source).await;
    says_ends.equal("end", found.of(partition), end);
    says_ends.equal("partitions", found.iter().count() as u32, log.partitions());
    // Later records continue where the first ones ended.
    fill(says, log, "a", 30).await;
    reader.until(says, "reading on", |r| r.count() >= 90).await;
    says.equal("values later", reader.values(partition)[60..].to_vec(), expected[..30].to_vec());
    says_ends.equal("end later", ends(says_ends, &mut *reader.source).await.of(partition), end + 30);
    let says = Sentence("resuming with the mark of the record just before the offset causes no gap");
    let records = reader.records[&partition].clone();
    let mut again = Reader::broadcast(log).await;
    again.until_assigned(says).await;
    let incarnation = again.assigned[&partition].log;
    let mark = records[41].mark();
    let resume = Resume { offset: mark.offset + 1, log: Some(incarnation), last: Some(mark) };
    again.answer(says, partition, resume);
    again.until(says, "reading", |r| r.ended.contains(&partition) || !r.gaps.is_empty()).await;
    says.equal("gaps", again.gaps, vec![]);
    says.equal("records", &again.records[&partition], &records[42..].to_vec());
    let says = Sentence("after resuming from the end the source waits for new records");
    let mut waiting = Reader::broadcast(log).await;
    waiting.until_assigned(says).await;
    waiting.answer(says, partition, Resume { offset: end + 30, ..Resume::default() });
    waiting.listen(says).await;
    says.equal("records", waiting.count(), 0);
    send(says, log, "a", &["late"]).await;
    waiting.until(says, "reading", |r| r.count() > 0).await;
    says.equal("values", waiting.values(partition), vec!["late".to_owned()]);
}

async fn holes_are_moved_over(log: &impl LogHarness) {
    let says = Sentence("offsets may be missing, and the batch skips such holes");
    let (partition, _) = fill(says, log, "a", 5).await;
    if !log.skip(partition).await {
        return;
    }
    fill(says, log, "a", 5).await;
    log.skip(partition).await;
    let mut reader = Reader::broadcast(log).await;
    let end = ends(says, &mut *reader.source).await.of(partition);
    reader.until_assigned(says).await;
    reader.answer_all();
    reader.until(says, "moving over a hole", |r| r.at[&partition] >= end).await;
    says.equal("records", reader.values(partition).len(), 10);
    says.holds(reader.ended.contains(&partition), "the last batch is not at the end");
    log.skip(partition).await;
    let end = ends(says, &mut *reader.source).await.of(partition);
    reader.until(says, "moving over a hole at the end", |r| r.at[&partition] >= end).await;
    let mut inside = Reader::broadcast(log).await;
    inside.until_assigned(says).await;
    inside.answer(says, partition, Resume { offset: 6, ..Resume::default() });
    inside.until(says, "resuming inside a hole", |r| r.at.get(&partition).is_none_or(|at| *at >= end)).await;
    says.equal("gaps", inside.gaps.len(), 0);
    says.equal("records from inside a hole", inside.values(partition).len(), 5);
}

async fn a_paused_partition_is_silent(log: &impl LogHarness) {
    let says = Sentence("the source yields nothing of a paused partition until it is resumed");
    let keys = keys(says, log).await;
    let (paused, _) = fill(says, log, &keys[0], 10).await;
    let (other, _) = fill(says, log, &keys[1], 10).await;
    let mut reader = Reader::broadcast(log).await;
    reader.source.pause(paused);
    let says_not_assigned = Sentence("pause has no effect on a partition that is not assigned");
    reader.until_assigned(says).await;
    reader.answer_all();
    reader.until(says_not_assigned, "reading", |r| r.ended.contains(&paused)).await;
    reader.settle(says).await;

    reader.source.pause(paused);
    let before = reader.values(paused).len();
    fill(says, log, &keys[0], 30).await;
    fill(says, log, &keys[1], 30).await;
    reader.until(says, "reading the other", |r| r.values(other).iter().any(|v| v.ends_with("029"))).await;
    reader.listen(says).await;
    says.equal("records of it", reader.values(paused).len(), before);
    reader.source.resume(paused);
    let says = Sentence("a resumed partition continues where it was paused");
    reader.until(says, "reading", |r| r.values(paused).len() >= before + 30).await;
    let expected: Vec<_> = (0..30).map(|i| format!("{} {i:03}", keys[0])).collect();
    says.equal("values", reader.values(paused)[before..].to_vec(), expected);
    // The partition is now paused while it has more records to read.
    fill(says, log, &keys[0], 200).await;
    let before = reader.count();
    reader.until(says, "reading", |r| r.count() > before).await;
    reader.source.pause(paused);
    let (seen, at_end) = (reader.values(paused).len(), reader.ended.contains(&paused));
    reader.listen(says).await;
    let says = Sentence("the source yields nothing more of a partition after pause");
    says.holds(at_end || reader.values(paused).len() == seen, "more records are yielded");
    reader.source.resume(paused);
    reader.settle(says).await;
    let all: Vec<_> = (0..200).map(|i| format!("{} {i:03}", keys[0])).collect();
    let values = reader.values(paused);
    says.equal("values after all", values[values.len() - 200..].to_vec(), all);
}

async fn a_dropped_next_loses_nothing(log: &impl LogHarness) {
    let says = Sentence("if next's future is dropped, no event is lost");
    let keys = keys(says, log).await;
    let mut reader = Reader::broadcast(log).await;
    for round in 0..40 {
        send(says, log, &keys[round % keys.len()], &[&format!("{round}")]).await;
        // Polls the future a few times without waiting, then drops it.
        for _ in 0..3 {
            let mut next = Box::pin(reader.source.next());
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx))).await;
            drop(next);
            if let std::task::Poll::Ready(event) = polled {
                let event = says.ok("next", event);
                reader.note(says, event);
                reader.answer_all();
            }
            tokio::task::yield_now().await;
        }
    }
    let total = ends(says, &mut *reader.source).await.total();
    reader.settle(says).await;
    says.equal("records", reader.count() as u64, total);
}

async fn broadcast_readers_each_see_all(log: &impl LogHarness) {
    let says = Sentence("in broadcast mode each reader is assigned all partitions");
    for key in keys(says, log).await {
        fill(says, log, &key, 10).await;
    }
    let (mut one, mut two) = (Reader::broadcast(log).await, Reader::broadcast(log).await);
    one.settle(says).await;
    two.settle(says).await;
    one.settle(says).await;
    says.equal("partitions", one.held().len() as u32, log.partitions());
    says.equal("records", &one.records, &two.records);
    says.holds(one.count() >= 30, format_args!("{} records", one.count()));
    says.equal("revoked or lost", (one.revoked.len(), one.lost.len()), (0, 0));
}
