//! The suite of followers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::sentence::{Sentence, drop_half_way};
use super::support::{batch, entry, event};
use crate::follower::{Follower, FollowerPosition};
use crate::history::History;
use crate::memory::MemoryHistory;
use crate::{ErrorKind, Offset, Partition};

const P0: Partition = Partition(0);

/// What the suite of followers needs.
#[async_trait]
pub trait FollowerHarness: Send + Sync {
    /// The follower.
    type Follower: Follower;

    /// Creates a follower that has applied nothing yet.
    async fn fresh(&self) -> Self::Follower;

    /// Returns the net counts by post and kind, up to the follower's position. Counts of zero are
    /// left out.
    async fn counts(&self, follower: &Self::Follower) -> BTreeMap<(String, String), i64>;
}

/// Tests the contract of [`Follower`]. The rebuild may fail, because most followers cannot rebuild.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn follower<H: FollowerHarness>(harness: &H) {
    entries_are_applied_once_and_in_order(harness).await;
    a_run_that_begins_too_late_is_a_gap(harness).await;
    two_processes_apply_once(harness).await;
    a_dropped_apply_is_stored_or_not(harness).await;
    a_rebuild_stands_for_all_entries(harness).await;
}

async fn position<F: Follower>(says: Sentence, follower: &F) -> Offset {
    match says.ok("position", follower.position(P0).await) {
        FollowerPosition::At(offset) => offset,
        other => says.broken(format_args!("its position is {other:?}")),
    }
}

/// Ticks the follower until it has stored its buffer and its position is `offset`.
async fn stored<F: Follower>(says: Sentence, follower: &F, offset: Offset) {
    for _ in 0..10 {
        if position(says, follower).await == offset {
            return;
        }
        says.ok("tick", follower.tick().await);
    }
    says.equal("position after ten ticks", position(says, follower).await, offset);
}

fn of(list: &[(&str, &str, i64)]) -> BTreeMap<(String, String), i64> {
    list.iter().map(|(post, kind, n)| (((*post).to_owned(), (*kind).to_owned()), *n)).collect()
}

async fn entries_are_applied_once_and_in_order<H: FollowerHarness>(harness: &H) {
    let says = Sentence(
        "apply receives a contiguous run of entries, and returns the next offset that the follower wants",
    );
    let follower = harness.fresh().await;
    says.equal("position at first", position(says, &follower).await, 0);
    let one = entry(0, 10, &[("a", "p", "like"), ("b", "p", "like"), ("a", "q", "comment")]);
    let two = entry(10, 20, &[("a", "p", "unlike"), ("c", "p", "like")]);
    let (three, four) = (entry(20, 30, &[]), entry(30, 40, &[("d", "q", "like")]));
    let next = says.ok("apply", follower.apply(P0, &[one.clone(), two.clone()]).await);
    says.equal("the next offset", next, 20);
    stored(says, &follower, 20).await;
    let expected = of(&[("p", "like", 2), ("q", "comment", 1)]);
    says.equal("counts", harness.counts(&follower).await, expected.clone());

    let says = Sentence("the follower skips entries that lie before its position");
    let next = says.ok("apply", follower.apply(P0, &[one.clone(), two.clone()]).await);
    says.equal("the next offset", next, 20);
    says.equal("counts", harness.counts(&follower).await, expected);
    let says = Sentence("the follower skips the part of a run that lies before its position");
    let next = says.ok("apply", follower.apply(P0, &[two, three, four]).await);
    says.equal("the next offset", next, 40);
    stored(says, &follower, 40).await;
    let expected = of(&[("p", "like", 2), ("q", "comment", 1), ("q", "like", 1)]);
    says.equal("counts", harness.counts(&follower).await, expected);
    says.ok("close", follower.close().await);
}

async fn a_run_that_begins_too_late_is_a_gap<H: FollowerHarness>(harness: &H) {
    let says =
        Sentence("if the run begins after the follower's position, apply changes nothing and fails as a gap");
    let follower = harness.fresh().await;
    let (one, late) = (entry(0, 10, &[("a", "p", "like")]), entry(11, 20, &[("b", "p", "like")]));
    says.fails("apply at first", follower.apply(P0, std::slice::from_ref(&late)).await, ErrorKind::Gap);
    says.equal("position", position(says, &follower).await, 0);
    says.ok("apply", follower.apply(P0, &[one]).await);
    stored(says, &follower, 10).await;
    says.fails("apply", follower.apply(P0, &[late]).await, ErrorKind::Gap);
    says.equal("position", position(says, &follower).await, 10);
    says.equal("counts", harness.counts(&follower).await, of(&[("p", "like", 1)]));
}

async fn two_processes_apply_once<H: FollowerHarness>(harness: &H) {
    let says = Sentence(
        "two processes may call apply with the same entries at the same time, and each effect is applied once",
    );
    let follower = harness.fresh().await;
    for i in 0..10 {
        let entries = [entry(2 * i, 2 * i + 1, &[("a", "p", "comment")]), entry(2 * i + 1, 2 * i + 2, &[])];
        let (a, b) = tokio::join!(follower.apply(P0, &entries), follower.apply(P0, &entries));
        for outcome in [a, b] {
            // The position may have moved before the second call stores it.
            if let Err(error) = &outcome {
                let lost = matches!(error.kind(), ErrorKind::Gap | ErrorKind::Fenced | ErrorKind::Retriable);
                says.holds(lost, format_args!("{error:?}"));
            }
        }
        stored(says, &follower, 2 * i + 2).await;
    }
    says.equal("counts", harness.counts(&follower).await, of(&[("p", "comment", 10)]));
}

async fn a_dropped_apply_is_stored_or_not<H: FollowerHarness>(harness: &H) {
    let says = Sentence("a dropped apply has either been stored or not");
    let follower = harness.fresh().await;
    for i in 0..10 {
        let one = entry(i, i + 1, &[("a", "p", "comment")]);
        drop_half_way(follower.apply(P0, std::slice::from_ref(&one))).await;
        let at = position(says, &follower).await;
        says.holds(at == i || at == i + 1, format_args!("the position is {at} after {i}"));
        says.ok("apply again", follower.apply(P0, &[one]).await);
        stored(says, &follower, i + 1).await;
        says.equal("counts", harness.counts(&follower).await, of(&[("p", "comment", i as i64 + 1)]));
    }
}

async fn a_rebuild_stands_for_all_entries<H: FollowerHarness>(harness: &H) {
    let says = Sentence(
        "after rebuild the follower is in the state that it would have after applying all entries up to the history's positions",
    );
    let follower = harness.fresh().await;
    says.ok("apply", follower.apply(P0, &[entry(0, 3, &[("z", "other", "like")])]).await);
    let history = MemoryHistory::new();
    let epoch = says.ok("claim", history.claim(P0, "group").await).epoch;
    let events = vec![event(0, "a", "p", "like"), event(1, "b", "p", "like"), event(2, "a", "q", "comment")];
    says.ok("commit", history.commit(Arc::new(batch(epoch, 0, 10, events))).await);
    if follower.rebuild(&history).await.is_err() {
        return;
    }
    stored(says, &follower, 10).await;
    says.equal("counts", harness.counts(&follower).await, of(&[("p", "like", 2), ("q", "comment", 1)]));
    says.ok(
        "apply",
        follower
            .apply(P0, &[entry(5, 10, &[("c", "p", "like")]), entry(10, 12, &[("d", "p", "like")])])
            .await,
    );
    stored(says, &follower, 12).await;
    says.equal("counts later", harness.counts(&follower).await, of(&[("p", "like", 3), ("q", "comment", 1)]));
}
