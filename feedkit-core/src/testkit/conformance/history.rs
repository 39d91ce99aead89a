use std::sync::Arc;
use std::time::Duration;

use super::sentence::{Sentence, drop_half_way};
use super::support::{LOG, at, batch, event, post, rejected, user};
use crate::effect::LoggedEvent;
use crate::history::{
    Claim, CommitBatch, CommitCounts, Committed, History, JournalRead, PostTotals, RetentionPolicy,
};
use crate::journal::JournalEntry;
use crate::{ErrorKind, Offset, Partition, Positions};

const P0: Partition = Partition(0);

/// Tries [`History`]'s contract, with likes that count once for each user.
///
/// # Panics
///
/// With the sentence that does not hold.
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

/// All that a history tells of itself, to see whether it has changed.
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
        JournalRead::Expired(start) => says.broken(format_args!("the journal begins at {start} already")),
    }
}

async fn totals(says: Sentence, history: &impl History) -> (Positions, Vec<PostTotals>) {
    let mut snapshot = says.ok("snapshot", history.snapshot().await);
    let mut totals = Vec::new();
    loop {
        let portion = says.ok("reading a snapshot", snapshot.next(2).await);
        says.holds(portion.len() <= 2, "a portion is larger than asked for");
        if portion.is_empty() {
            return (snapshot.positions().clone(), totals);
        }
        totals.extend(portion);
    }
}

/// Posts and their likes, as a snapshot has them.
async fn liked(says: Sentence, history: &impl History) -> Vec<(String, i64)> {
    let likes = |t: &PostTotals| t.counts.iter().find(|(k, _)| k == "like").map_or(0, |(_, n)| *n);
    let (_, totals) = totals(says, history).await;
    totals.iter().map(|t| (t.post.to_string(), likes(t))).filter(|(_, n)| *n != 0).collect()
}

fn pairs(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect()
}

async fn claims_raise_the_epoch(history: &impl History) {
    let says = Sentence("claim raises the partition's epoch; claimed changes nothing");
    says.equal("claimed before", says.ok("claimed", history.claimed(P0).await), Claim::default());
    let first = claim(says, history).await;
    says.equal("position at first", (first.position, first.log, first.last), (0, None, None));
    says.equal("claimed", says.ok("claimed", history.claimed(P0).await), first);
    says.equal("claimed again", says.ok("claimed", history.claimed(P0).await), first);
    let second = claim(says, history).await;
    says.holds(first.epoch >= 1 && second.epoch > first.epoch, format_args!("{first:?}, then {second:?}"));
    let says = Sentence("positions holds every partition that was ever claimed");
    says.ok("claim", history.claim(Partition(4), "group").await);
    let positions = Positions::from_iter([(P0, 0), (Partition(4), 0)]);
    says.equal("positions", says.ok("positions", history.positions().await), positions);
}

async fn an_older_epoch_is_refused(history: &impl History) {
    let says = Sentence("a commit with an older epoch is refused as fenced, and has changed nothing");
    let old = filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    let new = claim(says, history).await;
    let before = see(says, history).await;
    let stale = batch(old.epoch, 10, 20, vec![event(10, "b", "p", "like")]);
    says.fails("the commit", history.commit(Arc::new(stale.clone())).await, ErrorKind::Fenced);
    says.equal("history", &see(says, history).await, &before);
    // Also where the position would not fit: who is fenced must learn that.
    let astray = batch(old.epoch, 0, 10, vec![event(0, "b", "p", "like")]);
    says.fails("a commit astray", history.commit(Arc::new(astray)).await, ErrorKind::Fenced);
    let says = Sentence("a commit with an epoch that was never given is refused as fenced");
    let future = CommitBatch { epoch: new.epoch + 1, ..stale.clone() };
    says.fails("the commit", history.commit(Arc::new(future)).await, ErrorKind::Fenced);
    says.equal("history", &see(says, history).await, &before);
    let says = Sentence("a commit with the present epoch is accepted");
    commit(says, history, CommitBatch { epoch: new.epoch, ..stale }).await;
}

async fn another_group_is_refused(history: &impl History) {
    let says = Sentence("a history belongs to the group that claimed first; another is refused as invalid");
    let first = claim(says, history).await;
    says.fails("claim by another group", history.claim(P0, "other").await, ErrorKind::Invalid);
    says.fails("claim of another partition", history.claim(Partition(1), "other").await, ErrorKind::Invalid);
    says.equal("claimed", says.ok("claimed", history.claimed(P0).await), first);
}

async fn a_commit_moves_the_position_and_writes_its_entry(history: &impl History) {
    let says = Sentence("commit moves the position from `from` to `to`, and writes one journal entry");
    let claimed = claim(says, history).await;
    let mut with_rejected =
        batch(claimed.epoch, 0, 10, vec![event(3, "a", "p", "like"), event(5, "b", "p", "post")]);
    with_rejected.rejected = vec![rejected(1), rejected(4)];
    let expected = JournalEntry {
        partition: P0,
        from: 0,
        to: 10,
        epoch: claimed.epoch,
        at_end: true,
        effects: with_rejected.events.iter().map(LoggedEvent::effect).collect(),
    };
    let done = commit(says, history, with_rejected.clone()).await;
    let counts = CommitCounts { accepted: 2, duplicates: 0, rejected: 2, effects: 2 };
    says.equal("counts", done.counts, counts);
    says.equal("entry returned", (*done.entry).clone(), expected.clone());
    says.equal("journal", journal(says, history, 0).await, vec![Arc::new(expected)]);
    let now = says.ok("claimed", history.claimed(P0).await);
    says.equal("position", (now.position, now.log, now.last), (10, Some(LOG), with_rejected.last));
    says.equal("positions", says.ok("positions", history.positions().await).of(P0), 10);

    let says = Sentence("commit writes one journal entry also when nothing had an effect");
    let mut empty = batch(claimed.epoch, 10, 25, vec![]);
    (empty.last, empty.at_end) = (None, false);
    let done = commit(says, history, empty).await;
    says.equal("counts", done.counts, CommitCounts::default());
    let entries = journal(says, history, 0).await;
    let spans: Vec<_> = entries.iter().map(|e| (e.from, e.to, e.at_end, e.effects.len())).collect();
    says.equal("journal", spans, vec![(0, 10, true, 2), (10, 25, false, 0)]);
    let claimed_now = says.ok("claimed", history.claimed(P0).await);
    let says = Sentence("the last record committed is remembered over a batch that has none");
    says.equal("last", claimed_now.last, with_rejected.last);
    let says = Sentence("a claim finds the position where the last commit left it");
    says.equal("position", claim(says, history).await.position, 25);
}

async fn a_batch_that_does_not_follow_is_refused(history: &impl History) {
    let says = Sentence(
        "a batch whose `from` is not the stored position is refused as a gap, and has changed nothing",
    );
    let claimed = filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    let before = see(says, history).await;
    for (from, to) in [(0, 10), (9, 20), (11, 20)] {
        let mut astray = batch(claimed.epoch, from, to, vec![event(to - 1, "b", "p", "like")]);
        astray.rejected = vec![rejected(to - 2)];
        let what = format!("a commit of {from} to {to}");
        says.fails(&what, history.commit(Arc::new(astray)).await, ErrorKind::Gap);
        says.equal("history", &see(says, history).await, &before);
    }
    let says = Sentence("a refused batch's events are not kept: they are no repeats later");
    let done = commit(says, history, batch(claimed.epoch, 10, 20, vec![event(19, "b", "p", "like")])).await;
    says.equal("counts", (done.counts.accepted, done.counts.effects), (1, 1));
}

async fn repeats_change_nothing(history: &impl History) {
    let says =
        Sentence("an event whose (id, user) is kept already changes nothing and counts as a duplicate");
    let first = event(0, "a", "p", "comment");
    let repeat = |offset, kind: &str| {
        let mut repeat = event(offset, "a", "q", kind);
        repeat.event.id = first.event.id;
        repeat
    };
    let claimed = claim(says, history).await;
    let within = vec![first.clone(), repeat(1, "comment"), event(2, "b", "p", "like")];
    let done = commit(says, history, batch(claimed.epoch, 0, 10, within)).await;
    let counts = CommitCounts { accepted: 2, duplicates: 1, rejected: 0, effects: 2 };
    says.equal("counts of a repeat in its own batch", done.counts, counts);
    let later = vec![repeat(10, "like"), repeat(11, "comment"), repeat(12, "post")];
    let done = commit(says, history, batch(claimed.epoch, 10, 20, later)).await;
    let counts = CommitCounts { accepted: 0, duplicates: 3, rejected: 0, effects: 0 };
    says.equal("counts of later repeats", done.counts, counts);
    says.equal("effects of later repeats", done.entry.effects.len(), 0);
    let posts: Vec<_> = totals(says, history).await.1.into_iter().map(|t| t.post).collect();
    says.equal("posts with an effect", posts, vec![post("p")]);

    let says = Sentence("identity is (id, user): one user cannot block another's");
    let mut others = event(20, "b", "q", "comment");
    others.event.id = first.event.id;
    let done = commit(says, history, batch(claimed.epoch, 20, 30, vec![others.clone()])).await;
    says.equal("counts", (done.counts.accepted, done.counts.duplicates), (1, 0));
    let says = Sentence("an event without effect is kept too: its repeat is a duplicate");
    let idle = event(30, "z", "p", "unlike");
    let done = commit(says, history, batch(claimed.epoch, 30, 40, vec![idle.clone()])).await;
    says.equal("counts", (done.counts.accepted, done.counts.effects), (1, 0));
    let again = LoggedEvent { offset: 40, ..idle };
    let done = commit(says, history, batch(claimed.epoch, 40, 50, vec![again])).await;
    says.equal("counts", (done.counts.accepted, done.counts.duplicates), (0, 1));
}

async fn effects_are_those_of_one_event_at_a_time(history: &impl History) {
    let says = Sentence("effects are those of one event at a time in the order of offsets");
    let claimed = claim(says, history).await;
    // Each event with whether it has an effect.
    let steps = [
        ("a", "p", "like", true),
        ("a", "p", "like", false),
        ("a", "p", "unlike", true),
        ("a", "p", "unlike", false),
        ("a", "p", "like", true),
        ("b", "p", "unlike", false),
        ("b", "q", "like", true),
        ("b", "q", "unlike", true),
        ("c", "p", "post", true),
        ("a", "p", "post", false),
        ("c", "p", "comment", true),
        ("c", "p", "comment", true),
        ("a", "p", "like", false),
        ("a", "p", "unlike", true),
        ("b", "p", "post", false),
        ("b", "q", "like", true),
        ("b", "q", "share", true),
        ("c", "q", "like", true),
        ("c", "q", "like", false),
        ("a", "r", "like", true),
        ("a", "r", "unlike", true),
        ("b", "r", "post", true),
    ];
    let events: Vec<_> = (0..).zip(&steps).map(|(offset, (u, p, k, _))| event(offset, u, p, k)).collect();
    let cuts = [0, 5, 6, 12, 17, events.len()];
    let mut effective = Vec::new();
    for (&from, &to) in cuts.iter().zip(&cuts[1..]) {
        let done = commit(
            says,
            history,
            batch(claimed.epoch, from as Offset, to as Offset, events[from..to].to_vec()),
        )
        .await;
        says.equal("effects counted", done.counts.effects, done.entry.effects.len() as u64);
        effective.extend(done.entry.effects.iter().cloned());
    }
    let expected: Vec<_> =
        events.iter().zip(&steps).filter(|(_, step)| step.3).map(|(e, _)| e.effect()).collect();
    says.equal("effects", effective, expected);
    says.equal("likes", liked(says, history).await, pairs(&[("q", 2)]));
    let (_, totals) = totals(says, history).await;
    let authors: Vec<_> = totals.iter().map(|t| (t.post.to_string(), t.author.clone())).collect();
    let says = Sentence("a post sets the post's author, the first committed one stands");
    let expected = [("p", Some("c")), ("q", None), ("r", Some("b"))];
    says.equal("authors", authors, expected.map(|(p, a)| (p.to_owned(), a.map(user))).to_vec());
}

async fn two_processes_commit_once(history: &impl History) {
    let says =
        Sentence("of two commits of the same batch at once one is made, the other is refused as a gap");
    let claimed = claim(says, history).await;
    for i in 0..10 {
        let one = Arc::new(batch(claimed.epoch, i, i + 1, vec![event(i, "a", &format!("p{i}"), "like")]));
        let (a, b) = tokio::join!(history.commit(Arc::clone(&one)), history.commit(one));
        says.holds(a.is_ok() != b.is_ok(), format_args!("{a:?} and {b:?}"));
        let refused = a.and(b);
        says.fails("one of them", refused, ErrorKind::Gap);
    }
    says.equal("likes", liked(says, history).await.len(), 10);
}

async fn the_journal_is_read_in_order(history: &impl History) {
    let says = Sentence("journal returns committed entries only, contiguous and in order");
    let likes =
        |from| vec![event(from, "a", &format!("p{from}"), "like"), event(from + 1, "b", "q", "comment")];
    filled(says, history, vec![likes(0), likes(10), vec![], likes(30)]).await;
    let spans = async |from, most| match says.ok("journal", history.journal(P0, from, most).await) {
        JournalRead::Entries(entries) => entries.iter().map(|e| (e.from, e.to)).collect::<Vec<_>>(),
        JournalRead::Expired(start) => says.broken(format_args!("it begins at {start}")),
    };
    let all = vec![(0, 10), (10, 20), (20, 30), (30, 40)];
    says.equal("all", spans(0, usize::MAX).await, all.clone());
    let says = Sentence("the first entry contains or begins at the offset asked for");
    says.equal("from 10", spans(10, usize::MAX).await, all[1..].to_vec());
    says.equal("from 15", spans(15, usize::MAX).await, all[1..].to_vec());
    says.equal("from 39", spans(39, usize::MAX).await, all[3..].to_vec());
    let says = Sentence("no entries when the offset is the partition's position");
    says.equal("from the end", spans(40, usize::MAX).await, vec![]);
    let nothing = says.ok("journal", history.journal(Partition(9), 0, 10).await);
    let empty = matches!(&nothing, JournalRead::Entries(entries) if entries.is_empty());
    says.holds(empty, format_args!("a partition never claimed gives {nothing:?}"));
    let says =
        Sentence("journal returns at least one entry if there is any, then as many as fit max_effects");
    says.equal("one effect at most", spans(0, 1).await, all[..1].to_vec());
    says.equal("no effect at most", spans(0, 0).await, all[..1].to_vec());
    let fitting = spans(0, 4).await;
    says.holds(
        fitting.len() >= 2 && all.starts_with(&fitting),
        format_args!("four effects at most: {fitting:?}"),
    );
    says.holds(fitting.len() <= 3, format_args!("six effects where four were asked for: {fitting:?}"));
}

async fn a_snapshot_holds_exactly_what_its_positions_say(history: &impl History) {
    let says = Sentence("a snapshot's totals are those of exactly the effects up to its positions");
    let first = vec![
        event(0, "a", "p", "like"),
        event(1, "b", "p", "like"),
        event(2, "a", "q", "like"),
        event(3, "a", "r", "comment"),
        event(4, "w", "s", "post"),
    ];
    let claimed = filled(says, history, vec![first]).await;
    let mut snapshot = says.ok("snapshot", history.snapshot().await);
    let portion = says.ok("reading a snapshot", snapshot.next(1).await);
    let second =
        vec![event(10, "c", "p", "like"), event(11, "a", "q", "unlike"), event(12, "c", "z", "like")];
    // A store may make the writer wait for the snapshot's end; it is given up then, and made again below.
    let write = history.commit(Arc::new(batch(claimed.epoch, 10, 20, second.clone())));
    let written = tokio::time::timeout(Duration::from_secs(2), write).await;
    let mut seen = portion;
    loop {
        let portion = says.ok("reading a snapshot", snapshot.next(100).await);
        if portion.is_empty() {
            break;
        }
        seen.extend(portion);
    }
    says.equal("its positions", snapshot.positions().clone(), Positions::from_iter([(P0, 10)]));
    let counts: Vec<_> = seen
        .iter()
        .map(|t| (t.post.to_string(), t.counts.iter().filter(|(_, n)| *n != 0).cloned().collect::<Vec<_>>()))
        .collect();
    let of = |kind: &str, n| vec![(kind.to_owned(), n)];
    let expected = [("p", of("like", 2)), ("q", of("like", 1)), ("r", of("comment", 1)), ("s", vec![])];
    says.equal("totals", counts, expected.map(|(p, c)| (p.to_owned(), c)).to_vec());
    drop(snapshot);
    let says = Sentence("a snapshot taken after a commit holds its effects");
    if let Ok(outcome) = written {
        says.ok("commit", outcome);
    }
    let now = claim(says, history).await;
    if now.position == 10 {
        commit(says, history, batch(now.epoch, 10, 20, second)).await;
    }
    says.equal("positions", totals(says, history).await.0, Positions::from_iter([(P0, 20)]));
    says.equal("likes", liked(says, history).await, pairs(&[("p", 3), ("z", 1)]));
}

async fn a_dropped_commit_is_whole_or_nothing(history: &impl History) {
    let says =
        Sentence("a dropped commit is uncertain, and claimed settles it: all of it is there, or nothing");
    for i in 0..10 {
        let epoch = claim(says, history).await.epoch;
        let one = batch(epoch, i, i + 1, vec![event(i, "a", &format!("p{i}"), "like")]);
        drop_half_way(history.commit(Arc::new(one.clone()))).await;
        // It may still be running somewhere: claiming anew puts an end to it.
        let now = claim(says, history).await;
        says.holds(
            now.position == i || now.position == i + 1,
            format_args!("the position is {}", now.position),
        );
        says.equal("likes", liked(says, history).await.len() as u64, now.position);
        says.equal("journal entries", journal(says, history, 0).await.len() as u64, now.position);
        if now.position == i {
            commit(says, history, CommitBatch { epoch: now.epoch, ..one }).await;
        }
    }
}

async fn retention_keeps_what_is_needed(history: &impl History) {
    let says = Sentence("the journal is kept for the followers noted");
    let like = |offset| vec![event(offset, "a", &format!("p{offset}"), "like")];
    filled(says, history, vec![like(0), like(10), like(20), like(30)]).await;
    says.ok("note_follower", history.note_follower("slow", P0, 12).await);
    says.ok("note_follower", history.note_follower("fast", P0, 40).await);
    let century = Duration::from_secs(100 * 365 * 86_400);
    let policy = RetentionPolicy { events: century, journal: Duration::ZERO, follower_silence: century };
    says.ok("retain", history.retain(&policy, at(10 * 86_400)).await);
    let entries = journal(says, history, 12).await;
    says.holds(entries[0].from <= 12 && entries[0].to > 12, format_args!("it begins at {}", entries[0].from));
    says.equal("the end", entries.last().map(|e| e.to), Some(40));
    let says = Sentence("a journal that no longer reaches back says where it begins");
    match says.ok("journal", history.journal(P0, 0, usize::MAX).await) {
        JournalRead::Entries(entries) => says.equal("the start", entries[0].from, 0),
        JournalRead::Expired(start) => {
            let entries = journal(says, history, start).await;
            says.equal("the first entry there", entries.first().map(|e| e.from), Some(start));
        }
    }
    let says = Sentence("retention of raw events keeps totals, likes and authors");
    let before = totals(says, history).await;
    let policy = RetentionPolicy { events: Duration::ZERO, journal: century, follower_silence: century };
    says.ok("retain", history.retain(&policy, at(3 * 365 * 86_400)).await);
    says.equal("totals", totals(says, history).await, before);
    let epoch = claim(says, history).await.epoch;
    let again = event(40, "a", "p10", "like");
    let done = commit(says, history, batch(epoch, 40, 50, vec![again])).await;
    says.equal("effects of a like that stands", done.counts.effects, 0);
}

async fn a_gap_is_accepted(history: &impl History) {
    let says = Sentence("accept_gap moves the partition to the offset, in the log named");
    let claimed = filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    says.ok("accept_gap", history.accept_gap(P0, LOG, 50, at(60)).await);
    let now = says.ok("claimed", history.claimed(P0).await);
    says.equal("position", (now.position, now.log, now.last), (50, Some(LOG), None));
    says.equal("positions", says.ok("positions", history.positions().await).of(P0), 50);
    let says =
        Sentence("every move of a position has its journal entry: the journal stays contiguous over a gap");
    let epoch = says.ok("claimed", history.claimed(P0).await).epoch.max(claimed.epoch);
    commit(says, history, batch(epoch, 50, 60, vec![event(50, "b", "p", "like")])).await;
    let mut next = 0;
    for entry in journal(says, history, 0).await {
        says.equal("the next entry's start", entry.from, next);
        next = entry.to;
    }
    says.equal("the journal's end", next, 60);

    let says = Sentence("the offset may lie before the present position when the log was made anew");
    says.ok("accept_gap", history.accept_gap(P0, LOG + 1, 5, at(70)).await);
    let now = claim(says, history).await;
    says.equal("position", (now.position, now.log), (5, Some(LOG + 1)));
    let anew = CommitBatch { log: LOG + 1, ..batch(now.epoch, 5, 10, vec![event(7, "c", "p", "like")]) };
    commit(says, history, anew).await;
    says.equal("likes", liked(says, history).await, pairs(&[("p", 3)]));
}

async fn an_incarnation_stays(history: &impl History, other: &impl History) {
    let says = Sentence("an incarnation stays as it is, and differs from another history's");
    let first = says.ok("incarnation", history.incarnation().await);
    filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    says.equal("incarnation", says.ok("incarnation", history.incarnation().await), first);
    let others = says.ok("incarnation", other.incarnation().await);
    says.holds(others != first, format_args!("both have {first:x}"));
}
