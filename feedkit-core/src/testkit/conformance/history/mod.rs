//! The suite of histories.

mod commits;
mod reads;

use self::commits::*;
use self::reads::*;
use std::sync::Arc;

use crate::effect::LoggedEvent;
use crate::history::{
    Claim, CommitBatch, CommitCounts, Committed, History, JournalRead, PostTotals, RetentionPolicy,
};
use crate::journal::JournalEntry;
use crate::testkit::conformance::sentence::{Sentence, drop_half_way};
use crate::testkit::conformance::support::{LOG, at, batch, event, post, rejected, user};
use crate::{ErrorKind, Offset, Partition, Positions};

const P0: Partition = Partition(0);

/// Tests the contract of [`History`]. A like counts once per user.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn history<H: History>(fresh: impl AsyncFn() -> H) {
    claims_raise_the_epoch(&fresh().await).await;
    an_older_epoch_is_refused(&fresh().await).await;
    another_group_is_refused(&fresh().await).await;
    a_commit_moves_the_position_and_writes_its_entry(&fresh().await).await;
    a_batch_that_does_not_follow_is_refused(&fresh().await).await;
    repeats_change_nothing(&fresh().await).await;
    effects_are_those_of_one_event_at_a_time(&fresh().await).await;
    two_processes_commit_once(&fresh().await).await;
    the_journal_is_read_in_order(&fresh().await).await;
    a_snapshot_holds_exactly_what_its_positions_say(&fresh().await).await;
    a_dropped_commit_is_whole_or_nothing(&fresh().await).await;
    retention_keeps_what_is_needed(&fresh().await).await;
    a_gap_is_accepted(&fresh().await).await;
    an_incarnation_stays(&fresh().await, &fresh().await).await;
}

async fn claim(says: Sentence, history: &impl History) -> Claim {
    says.ok("claim", history.claim(P0, "group").await)
}

async fn commit(says: Sentence, history: &impl History, batch: CommitBatch) -> Committed {
    says.ok("commit", says.ends("commit", history.commit(Arc::new(batch))).await)
}

/// Claims partition 0 and commits these batches of events, each ending 10 offsets after it began.
async fn filled(says: Sentence, history: &impl History, batches: Vec<Vec<LoggedEvent>>) -> Claim {
    let claimed = claim(says, history).await;
    for (from, events) in (0..).step_by(10).zip(batches) {
        commit(says, history, batch(claimed.epoch, from, from + 10, events)).await;
    }
    claimed
}

/// Everything that a history shows of itself, to find out whether it has changed.
#[derive(Debug, PartialEq)]
struct Seen {
    claim: Claim,
    positions: Positions,
    journal: Vec<Arc<JournalEntry>>,
    totals: Vec<PostTotals>,
}

async fn see(says: Sentence, history: &impl History) -> Seen {
    Seen {
        claim: says.ok("claimed", history.claimed(P0).await),
        positions: says.ok("positions", history.positions().await),
        journal: journal(says, history, 0).await,
        totals: totals(says, history).await.1,
    }
}

async fn journal(says: Sentence, history: &impl History, from: Offset) -> Vec<Arc<JournalEntry>> {
    match says.ok("journal", history.journal(P0, from, usize::MAX).await) {
        JournalRead::Entries(entries) => entries,
        JournalRead::Expired(start) => says.broken(format_args!("the journal already begins at {start}")),
    }
}

async fn totals(says: Sentence, history: &impl History) -> (Positions, Vec<PostTotals>) {
    let mut snapshot = says.ok("snapshot", history.snapshot().await);
    let mut totals = Vec::new();
    loop {
        let portion = says.ok("reading a snapshot", snapshot.next(2).await);
        says.holds(portion.len() <= 2, "a portion exceeds the limit");
        if portion.is_empty() {
            return (snapshot.positions().clone(), totals);
        }
        totals.extend(portion);
    }
}

/// Returns the posts and their likes in a snapshot.
async fn liked(says: Sentence, history: &impl History) -> Vec<(String, i64)> {
    let likes = |t: &PostTotals| t.counts.iter().find(|(k, _)| k == "like").map_or(0, |(_, n)| *n);
    let (_, totals) = totals(says, history).await;
    totals.iter().map(|t| (t.post.to_string(), likes(t))).filter(|(_, n)| *n != 0).collect()
}

fn pairs(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect()
}

async fn claims_raise_the_epoch(history: &impl History) {
    let says = Sentence("claim increases the epoch of the partition, and claimed changes nothing");
    says.equal("claimed before", says.ok("claimed", history.claimed(P0).await), Claim::default());
    let first = claim(says, history).await;
    says.equal("position at first", (first.position, first.log, first.last), (0, None, None));
    says.equal("claimed", says.ok("claimed", history.claimed(P0).await), first);
    says.equal("claimed again", says.ok("claimed", history.claimed(P0).await), first);
    let second = claim(says, history).await;
    says.holds(first.epoch >= 1 && second.epoch > first.epoch, format_args!("{first:?}, then {second:?}"));
    let says = Sentence("positions contains every partition that was ever claimed");
    says.ok("claim", history.claim(Partition(4), "group").await);
    let positions = Positions::from_iter([(P0, 0), (Partition(4), 0)]);
    says.equal("positions", says.ok("positions", history.positions().await), positions);
}

async fn an_older_epoch_is_refused(history: &impl History) {
    let says = Sentence("a commit with an older epoch fails as fenced, and changes nothing");
    let old = filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    let new = claim(says, history).await;
    let before = see(says, history).await;
    let stale = batch(old.epoch, 10, 20, vec![event(10, "b", "p", "like")]);
    says.fails("the commit", history.commit(Arc::new(stale.clone())).await, ErrorKind::Fenced);
    says.equal("history", &see(says, history).await, &before);
    // The commit also fails as fenced if its position does not match: a fenced process must learn
    // that it is fenced.
    let astray = batch(old.epoch, 0, 10, vec![event(0, "b", "p", "like")]);
    says.fails("a commit at another position", history.commit(Arc::new(astray)).await, ErrorKind::Fenced);
    let says = Sentence("a commit with an epoch that was never given fails as fenced");
    let future = CommitBatch { epoch: new.epoch + 1, ..stale.clone() };
    says.fails("the commit", history.commit(Arc::new(future)).await, ErrorKind::Fenced);
    says.equal("history", &see(says, history).await, &before);
    let says = Sentence("a commit with the current epoch is accepted");
    commit(says, history, CommitBatch { epoch: new.epoch, ..stale }).await;
}

async fn another_group_is_refused(history: &impl History) {
    let says = Sentence(
        "a history belongs to the first group that claims a partition, and claim fails as invalid for any other group",
    );
    let first = claim(says, history).await;
    says.fails("claim by another group", history.claim(P0, "other").await, ErrorKind::Invalid);
    says.fails("claim of another partition", history.claim(Partition(1), "other").await, ErrorKind::Invalid);
    says.equal("claimed", says.ok("claimed", history.claimed(P0).await), first);
}
