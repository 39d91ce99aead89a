//! Commits: their effects, and the batches that are refused.

use std::sync::Arc;

use super::*;

pub(super) async fn a_commit_moves_the_position_and_writes_its_entry(history: &impl History) {
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

    let says = Sentence("commit writes one journal entry, even if no event had an effect");
    let mut empty = batch(claimed.epoch, 10, 25, vec![]);
    (empty.last, empty.at_end) = (None, false);
    let done = commit(says, history, empty).await;
    says.equal("counts", done.counts, CommitCounts::default());
    let entries = journal(says, history, 0).await;
    let spans: Vec<_> = entries.iter().map(|e| (e.from, e.to, e.at_end, e.effects.len())).collect();
    says.equal("journal", spans, vec![(0, 10, true, 2), (10, 25, false, 0)]);
    let claimed_now = says.ok("claimed", history.claimed(P0).await);
    let says = Sentence("the last committed record stays known after a batch without records");
    says.equal("last", claimed_now.last, with_rejected.last);
    let says = Sentence("claim returns the position of the last commit");
    says.equal("position", claim(says, history).await.position, 25);
}

pub(super) async fn a_batch_that_does_not_follow_is_refused(history: &impl History) {
    let says =
        Sentence("a batch whose `from` is not the stored position fails as a gap, and changes nothing");
    let claimed = filled(says, history, vec![vec![event(0, "a", "p", "like")]]).await;
    let before = see(says, history).await;
    for (from, to) in [(0, 10), (9, 20), (11, 20)] {
        let mut astray = batch(claimed.epoch, from, to, vec![event(to - 1, "b", "p", "like")]);
        astray.rejected = vec![rejected(to - 2)];
        let what = format!("a commit of {from} to {to}");
        says.fails(&what, history.commit(Arc::new(astray)).await, ErrorKind::Gap);
        says.equal("history", &see(says, history).await, &before);
    }
    let says = Sentence("the events of a refused batch are not stored: sent later, they are not duplicates");
    let done = commit(says, history, batch(claimed.epoch, 10, 20, vec![event(19, "b", "p", "like")])).await;
    says.equal("counts", (done.counts.accepted, done.counts.effects), (1, 1));
}

pub(super) async fn repeats_change_nothing(history: &impl History) {
    let says =
        Sentence("an event whose (id, user) is already stored changes nothing and counts as a duplicate");
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

    let says = Sentence("events are identified by (id, user): one user cannot block an id for another user");
    let mut others = event(20, "b", "q", "comment");
    others.event.id = first.event.id;
    let done = commit(says, history, batch(claimed.epoch, 20, 30, vec![others.clone()])).await;
    says.equal("counts", (done.counts.accepted, done.counts.duplicates), (1, 0));
    let says = Sentence("an event without an effect is stored too: its repeat is a duplicate");
    let idle = event(30, "z", "p", "unlike");
    let done = commit(says, history, batch(claimed.epoch, 30, 40, vec![idle.clone()])).await;
    says.equal("counts", (done.counts.accepted, done.counts.effects), (1, 0));
    let again = LoggedEvent { offset: 40, ..idle };
    let done = commit(says, history, batch(claimed.epoch, 40, 50, vec![again])).await;
    says.equal("counts", (done.counts.accepted, done.counts.duplicates), (0, 1));
}

pub(super) async fn effects_are_those_of_one_event_at_a_time(history: &impl History) {
    let says = Sentence(
        "the effects are the same as if the events were applied one at a time in the order of their offsets",
    );
    let claimed = claim(says, history).await;
    // Each event, and whether it has an effect.
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
    let says = Sentence("an event `post` sets the author of the post, and later ones do not change it");
    let expected = [("p", Some("c")), ("q", None), ("r", Some("b"))];
    says.equal("authors", authors, expected.map(|(p, a)| (p.to_owned(), a.map(user))).to_vec());
}

pub(super) async fn two_processes_commit_once(history: &impl History) {
    let says = Sentence(
        "if the same batch is committed twice at the same time, one commit succeeds and the other fails as a gap",
    );
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

pub(super) async fn a_dropped_commit_is_whole_or_nothing(history: &impl History) {
    let says = Sentence(
        "the outcome of a dropped commit is uncertain: claimed tells whether all of it is stored, or nothing",
    );
    for i in 0..10 {
        let epoch = claim(says, history).await.epoch;
        let one = batch(epoch, i, i + 1, vec![event(i, "a", &format!("p{i}"), "like")]);
        drop_half_way(history.commit(Arc::new(one.clone()))).await;
        // The commit may still be running. A new claim ends it.
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
