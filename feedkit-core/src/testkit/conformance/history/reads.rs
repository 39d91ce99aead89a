//! Reads: the journal, snapshots, and what remains after retention and gaps.

use std::time::Duration;

use super::*;

pub(super) async fn the_journal_is_read_in_order(history: &impl History) {
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
    let says = Sentence("the first entry contains the requested offset or begins at it");
    says.equal("from 10", spans(10, usize::MAX).await, all[1..].to_vec());
    says.equal("from 15", spans(15, usize::MAX).await, all[1..].to_vec());
    says.equal("from 39", spans(39, usize::MAX).await, all[3..].to_vec());
    let says = Sentence("there are no entries if the offset is the position of the partition");
    says.equal("from the end", spans(40, usize::MAX).await, vec![]);
    let nothing = says.ok("journal", history.journal(Partition(9), 0, 10).await);
    let empty = matches!(&nothing, JournalRead::Entries(entries) if entries.is_empty());
    says.holds(empty, format_args!("a partition that was never claimed gives {nothing:?}"));
    let says = Sentence(
        "journal returns at least one entry if there is one, and no further entry that would exceed max_effects",
    );
    says.equal("one effect at most", spans(0, 1).await, all[..1].to_vec());
    says.equal("no effect at most", spans(0, 0).await, all[..1].to_vec());
    let fitting = spans(0, 4).await;
    says.holds(
        fitting.len() >= 2 && all.starts_with(&fitting),
        format_args!("four effects at most: {fitting:?}"),
    );
    says.holds(fitting.len() <= 3, format_args!("six effects, but the limit is four: {fitting:?}"));
}

pub(super) async fn a_snapshot_holds_exactly_what_its_positions_say(history: &impl History) {
    let says = Sentence("the totals of a snapshot include exactly the effects up to its positions");
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
    // A store may make the writer wait until the snapshot ends. The commit is then dropped, and
    // repeated below.
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
    let says = Sentence("a snapshot after a commit includes its effects");
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

pub(super) async fn retention_keeps_what_is_needed(history: &impl History) {
    let says = Sentence("retention keeps the journal for registered followers");
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
    let says = Sentence("a journal that no longer holds the offset tells where it begins");
    match says.ok("journal", history.journal(P0, 0, usize::MAX).await) {
        JournalRead::Entries(entries) => says.equal("the start", entries[0].from, 0),
        JournalRead::Expired(start) => {
            let entries = journal(says, history, start).await;
            says.equal("the first entry there", entries.first().map(|e| e.from), Some(start));
        }
    }
    let says = Sentence("retention drops raw events, and keeps totals, likes and authors");
    let before = totals(says, history).await;
    let policy = RetentionPolicy { events: Duration::ZERO, journal: century, follower_silence: century };
    says.ok("retain", history.retain(&policy, at(3 * 365 * 86_400)).await);
    says.equal("totals", totals(says, history).await, before);
    let epoch = claim(says, history).await.epoch;
    let again = event(40, "a", "p10", "like");
    let done = commit(says, history, batch(epoch, 40, 50, vec![again])).await;
    says.equal("effects of a like that already counts", done.counts.effects, 0);
}

pub(super) async fn a_gap_is_accepted(history: &impl History) {
    let says = Sentence("accept_gap moves the partition to the offset in the given log");
    let claimed = filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    says.ok("accept_gap", history.accept_gap(P0, LOG, 50, at(60)).await);
    let now = says.ok("claimed", history.claimed(P0).await);
    says.equal("position", (now.position, now.log, now.last), (50, Some(LOG), None));
    says.equal("positions", says.ok("positions", history.positions().await).of(P0), 50);
    let says =
        Sentence("every move of a position has its journal entry: the journal stays contiguous across a gap");
    let epoch = says.ok("claimed", history.claimed(P0).await).epoch.max(claimed.epoch);
    commit(says, history, batch(epoch, 50, 60, vec![event(50, "b", "p", "like")])).await;
    let mut next = 0;
    for entry in journal(says, history, 0).await {
        says.equal("the next entry's start", entry.from, next);
        next = entry.to;
    }
    says.equal("the journal's end", next, 60);

    let says = Sentence("the offset may be lower than the current position if the log was created again");
    says.ok("accept_gap", history.accept_gap(P0, LOG + 1, 5, at(70)).await);
    let now = claim(says, history).await;
    says.equal("position", (now.position, now.log), (5, Some(LOG + 1)));
    let anew = CommitBatch { log: LOG + 1, ..batch(now.epoch, 5, 10, vec![event(7, "c", "p", "like")]) };
    commit(says, history, anew).await;
    says.equal("likes", liked(says, history).await, pairs(&[("p", 3)]));
}

pub(super) async fn an_incarnation_stays(history: &impl History, other: &impl History) {
    let says =
        Sentence("the incarnation of a history does not change, and differs from that of another history");
    let first = says.ok("incarnation", history.incarnation().await);
    filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    says.equal("incarnation", says.ok("incarnation", history.incarnation().await), first);
    let others = says.ok("incarnation", other.incarnation().await);
    says.holds(others != first, format_args!("both have {first:x}"));
}
