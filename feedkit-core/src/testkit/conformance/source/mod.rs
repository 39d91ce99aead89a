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

/// Tries [`EventSource`]'s contract, of members of groups and of broadcast readers.
///
/// # Panics
///
/// With the sentence that does not hold.
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

/// Sends `count` numbered values under `key`; which partition has them, and the offset after the last.
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
        "the first event of a partition is Assigned; nothing else of it is yielded before resume has been answered",
    );
    for key in keys(says, log).await {
        fill(says, log, &key, 20).await;
    }
    for broadcast in [true, false] {
        let source = if broadcast { log.broadcast().await } else { log.member("g").await.source };
        let mut reader = Reader::new(log, source);
        reader.until_assigned(says).await;
        reader.listen(says).await;
        says.equal("records read unasked", reader.count(), 0);
        let says = Sentence("reading begins at the offset answered");
        let partition = Partition(1);
        reader.answer(says, partition, Resume { offset: 12, ..Resume::default() });
        reader.until(says, "reading", |r| r.ended.contains(&partition)).await;
        let first = reader.records[&partition].first().map(|r| r.offset);
        says.equal("the first record", first, Some(12));
        let says = Sentence("nothing is yielded of a partition that was not answered, though another was");
        reader.listen(says).await;
        says.equal("partitions read", reader.records.keys().copied().collect::<Vec<_>>(), vec![partition]);
        let incarnations: BTreeSet<_> = reader.assigned.values().map(|a| a.log).collect();
        says.equal("incarnations told", incarnations.len(), 1);
    }
}

async fn an_assignment_without_an_answer_is_not_read(log: &impl LogHarness) {
    let says = Sentence("an assignment that is dropped without an answer is not read");
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
        Sentence("the batches of a partition are contiguous, and hold all its records in ascending order");
    let (partition, end) = fill(says, log, "a", 60).await;
    let mut reader = Reader::broadcast(log).await;
    reader.settle(says).await;
    let expected: Vec<_> = (0..60).map(|i| format!("a {i:03}")).collect();
    says.equal("values", reader.values(partition), expected.clone());
    let says_end = Sentence("at_end says that the log held nothing more of the partition when this was read");
    says_end.holds(reader.ended.contains(&partition), "the last batch is not at the end");
    says_end.equal("read up to", reader.at.get(&partition).copied(), Some(end));
    let says_ends = Sentence("ends gives the next offset to be written of every partition of the log");
    let found = ends(says_ends, &mut *reader.source).await;
    says_ends.equal("end", found.of(partition), end);
    says_ends.equal("partitions", found.iter().count() as u32, log.partitions());
    // What comes later follows on.
    fill(says, log, "a", 30).await;
    reader.until(says, "reading on", |r| r.count() >= 90).await;
    says.equal("values later", reader.values(partition)[60..].to_vec(), expected[..30].to_vec());
    says_ends.equal("end later", ends(says_ends, &mut *reader.source).await.of(partition), end + 30);
    let says = Sentence("resuming with the mark of the record just before is no gap");
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
    let says = Sentence("resuming at the end waits for what comes");
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
    let says = Sentence("offsets may be missing (holes), and the batch moves over them");
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
    let says = Sentence("nothing of a paused partition is yielded until it is resumed");
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
    let says = Sentence("a resumed partition goes on where it was");
    reader.until(says, "reading", |r| r.values(paused).len() >= before + 30).await;
    let expected: Vec<_> = (0..30).map(|i| format!("{} {i:03}", keys[0])).collect();
    says.equal("values", reader.values(paused)[before..].to_vec(), expected);
    // Paused in the midst of what is there to be read.
    fill(says, log, &keys[0], 200).await;
    let before = reader.count();
    reader.until(says, "reading", |r| r.count() > before).await;
    reader.source.pause(paused);
    let (seen, at_end) = (reader.values(paused).len(), reader.ended.contains(&paused));
    reader.listen(says).await;
    let says = Sentence("nothing more of a partition is yielded once it is paused");
    says.holds(at_end || reader.values(paused).len() == seen, "more of it is yielded");
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
        // Polled a few times without letting it wait, then dropped.
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
