//! The suite of [`Inspect`].

use std::sync::Arc;

use super::committed::{commit, events};
use super::sentence::Sentence;
use super::support::{at, batch, rejected};
use crate::Partition;
use crate::history::History;
use crate::inspect::Inspect;

/// Tests the contract of [`Inspect`]. Each call of `fresh` returns a [`History`] to commit events
/// to, and the inspection of it. A like counts once per user.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn inspect<H: History, I: Inspect>(fresh: impl AsyncFn() -> (H, I)) {
    an_empty_history_is_in_order(&fresh().await.1).await;
    let (history, inspect) = fresh().await;
    rejected_records_are_paged(&history, &inspect).await;
    let (history, inspect) = fresh().await;
    verification_finds_nothing(&history, &inspect).await;
}

async fn an_empty_history_is_in_order(inspect: &impl Inspect) {
    let says = Sentence("an empty history has no rejected records and no differences");
    says.holds(says.ok("rejected", inspect.rejected(None, 5).await).is_empty(), "records were rejected");
    says.equal("differences", says.ok("verify", inspect.verify().await).difference_count, 0);
}

async fn rejected_records_are_paged(history: &impl History, inspect: &impl Inspect) {
    let says = Sentence(
        "rejected records are ordered by partition and offset, start after the cursor, and have place, reason and bytes",
    );
    for partition in [Partition(1), Partition(0)] {
        let claim = says.ok("claim", history.claim(partition, "group").await);
        let mut one = batch(claim.epoch, 0, 10, vec![]);
        one.partition = partition;
        one.rejected = [1, 4, 7].map(rejected).to_vec();
        says.ok("commit", history.commit(Arc::new(one)).await);
    }
    let all = says.ok("rejected", inspect.rejected(None, 100).await);
    let places: Vec<_> = all.iter().map(|r| (r.partition.0, r.offset)).collect();
    let expected = vec![(0, 1), (0, 4), (0, 7), (1, 1), (1, 4), (1, 7)];
    says.equal("places", places, expected.clone());
    let first = &all[0];
    let fault = rejected(1).fault;
    says.equal("time", first.time, at(1));
    says.equal(
        "fault",
        (first.reason.as_str(), &first.field, &first.detail),
        (fault.reason.as_str(), &fault.field, &fault.detail),
    );
    says.equal("value", (first.value.as_str(), first.size), ("{\u{fffd}", 2));
    let mut paged = Vec::new();
    while paged.len() <= expected.len() {
        let after = paged.last().map(|(p, o)| (Partition(*p), *o));
        let page = says.ok("rejected", inspect.rejected(after, 2).await);
        if page.is_empty() {
            break;
        }
        paged.extend(page.iter().map(|r| (r.partition.0, r.offset)));
    }
    says.equal("paged", paged, expected);
}

async fn verification_finds_nothing(history: &impl History, inspect: &impl Inspect) {
    let says = Sentence(
        "verify counts everything again from the raw events, and finds no differences if the totals are correct",
    );
    let list = [
        ("a", "p", "like"),
        ("b", "p", "like"),
        ("a", "p", "unlike"),
        ("a", "q", "comment"),
        ("w", "r", "post"),
        ("a", "p", "unlike"),
    ];
    commit(says, history, events(0, &list)).await;
    let found = says.ok("verify", inspect.verify().await);
    says.equal("differences", (found.difference_count, found.differences), (0, vec![]));
    says.equal("raw events recounted", found.events, 6);
}
