//! Logs that do not hold the records to be read.

use super::*;

async fn gap_at(says: Sentence, log: &dyn LogHarness, partition: Partition, resume: Resume) -> Gap {
    let mut reader = Reader::broadcast(log).await;
    reader.until_assigned(says).await;
    reader.answer(says, partition, resume);
    reader.answer_all();
    reader
        .until(says, "waiting for the gap", |r| !r.gaps.is_empty() || r.records.contains_key(&partition))
        .await;
    says.holds(!reader.gaps.is_empty(), "records are yielded instead of a gap");
    let gap = reader.gaps[0].clone();
    says.equal("gap", (gap.partition, gap.wanted), (partition, resume.offset));
    let says = Sentence(
        "the source yields a gap once, and nothing of the partition follows until it is assigned again",
    );
    send(says, log, "a", &["after the gap"]).await;
    reader.settle(says).await;
    says.equal("gaps", reader.gaps.len(), 1);
    says.equal("records of it", reader.values(partition).len(), 0);
    gap
}

pub(super) async fn an_expired_offset_is_a_gap(log: &impl LogHarness) {
    let says =
        Sentence("if the log no longer holds the offset to resume from, the source yields Gap: expired");
    let (partition, end) = fill(says, log, "a", 20).await;
    let (start, before) = (end - 8, end - 9);
    if !log.expire_before(partition, start).await {
        return;
    }
    let gap = gap_at(says, log, partition, Resume { offset: before, ..Resume::default() }).await;
    says.equal("reason", gap.reason, GapReason::Expired);
    says.equal("what the log holds", (gap.start, gap.end), (start, end));
    let says = Sentence("resuming from the first offset that the log holds causes no gap");
    let mut reader = Reader::broadcast(log).await;
    reader.until_assigned(says).await;
    reader.answer(says, partition, Resume { offset: start, ..Resume::default() });
    reader.until(says, "reading", |r| !r.gaps.is_empty() || r.count() >= 8).await;
    says.equal("gaps", reader.gaps, vec![]);
}

pub(super) async fn a_truncated_log_is_a_gap(log: &impl LogHarness) {
    let says = Sentence("if the log ends before the offset to resume from, the source yields Gap: truncated");
    let (partition, end) = fill(says, log, "a", 20).await;
    let gap = gap_at(says, log, partition, Resume { offset: end + 1, ..Resume::default() }).await;
    says.equal("reason", gap.reason, GapReason::Truncated);
    says.equal("what the log holds", gap.end, end);

    let says = Sentence("if the record just before the offset differs, the source yields Gap: recreated");
    let mut reader = Reader::broadcast(log).await;
    reader.settle(says).await;
    let mark = reader.records[&partition][10].mark();
    let end = reader.at[&partition];
    if !log.truncate(partition, mark.offset).await {
        return;
    }
    while ends(says, &mut *reader.source).await.of(partition) < end {
        send(says, log, "a", &["other records at the same offsets"]).await;
    }
    let resume = Resume { offset: mark.offset + 1, log: None, last: Some(mark) };
    let gap = gap_at(says, log, partition, resume).await;
    says.equal("reason", gap.reason, GapReason::Recreated);
}

pub(super) async fn a_log_made_anew_is_a_gap(log: &impl LogHarness) {
    let says = Sentence("if the incarnation of the log differs, the source yields Gap: recreated");
    let (partition, _) = fill(says, log, "a", 20).await;
    let incarnation = {
        let mut reader = Reader::broadcast(log).await;
        reader.until_assigned(says).await;
        reader.assigned[&partition].log
    };
    let resume = Resume { offset: 5, log: Some(incarnation.wrapping_add(1)), last: None };
    let gap = gap_at(says, log, partition, resume).await;
    says.equal("reason", gap.reason, GapReason::Recreated);
    if !log.recreate().await {
        return;
    }
    let (partition, _) = fill(says, log, "a", 20).await;
    let resume = Resume { offset: 5, log: Some(incarnation), last: None };
    let gap = gap_at(says, log, partition, resume).await;
    says.equal("reason", gap.reason, GapReason::Recreated);
}

pub(super) async fn records_lost_under_way_are_a_gap(log: &impl LogHarness) {
    let says = Sentence("the source never skips records silently");
    let (partition, end) = fill(says, log, "a", 20).await;
    let mut reader = Reader::broadcast(log).await;
    reader.settle(says).await;
    reader.source.pause(partition);
    fill(says, log, "a", 20).await;
    if !log.expire_before(partition, end + 10).await {
        return;
    }
    reader.source.resume(partition);
    // A source may have read ahead records that the log has dropped since. It then yields them.
    let enough = |r: &Reader<'_>| !r.gaps.is_empty() || r.values(partition).len() >= 40;
    reader.until(says, "waiting for the gap", enough).await;
    if let Some(gap) = reader.gaps.first() {
        says.holds((end..end + 10).contains(&gap.wanted), format_args!("{gap}"));
        says.equal("reason", gap.reason, GapReason::Expired);
    }
}
