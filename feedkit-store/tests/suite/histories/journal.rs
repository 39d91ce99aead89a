//! Gaps, batches out of order, and reads of the journal.

use std::sync::Arc;

use feedkit_core::history::{CommitBatch, JournalRead};
use feedkit_core::testkit::conformance::support::{LOG, at, batch, event, post, rejected};
use feedkit_core::{ErrorKind, History, Inspect, Partition, Queries};

use super::{NONE, Store, Stores};

const P0: Partition = Partition(0);

async fn commit(history: &impl History, batch: CommitBatch) {
    history.commit(Arc::new(batch)).await.unwrap();
}

async fn entries(history: &impl History, from: u64, most: usize) -> Vec<(u64, u64)> {
    match history.journal(P0, from, most).await.unwrap() {
        JournalRead::Entries(entries) => entries.iter().map(|e| (e.from, e.to)).collect(),
        JournalRead::Expired(start) => panic!("the journal begins at {start}"),
    }
}

pub(crate) async fn a_gap_moves_followers_and_a_partition_that_goes_back_makes_them_start_over(
    stores: &impl Stores,
) {
    let store = stores.empty().await;
    let history = store.history();
    assert_eq!(history.accept_gap(P0, LOG, 5, at(0)).await.unwrap_err().kind(), ErrorKind::Invalid);
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    history.accept_gap(P0, LOG, 20, at(0)).await.unwrap();
    let mut first = batch(epoch, 20, 30, vec![event(20, "a", "p", "like")]);
    first.rejected = vec![rejected(27)];
    commit(&history, first.clone()).await;
    let incarnation = history.incarnation().await.unwrap();
    history.accept_gap(P0, LOG, 40, at(1)).await.unwrap();
    history.accept_gap(P0, LOG, 40, at(1)).await.unwrap();
    assert_eq!(entries(&history, 0, 100).await, [(0, 20), (20, 30), (30, 40)]);
    assert_eq!(history.incarnation().await.unwrap(), incarnation);
    assert_eq!(history.claimed(P0).await.unwrap().epoch, epoch);
    assert_eq!(history.journal(P0, 41, 1).await.unwrap_err().kind(), ErrorKind::Gap);
    assert_eq!(history.verify().await.unwrap().differences, NONE);

    let foreign = CommitBatch { log: LOG + 1, ..batch(epoch, 40, 50, vec![]) };
    let refused = history.commit(Arc::new(foreign.clone())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gap, "{refused}");
    let stale = CommitBatch { epoch: epoch + 1, from: 39, ..foreign };
    let refused = history.commit(Arc::new(stale)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced, "the epoch comes before all else: {refused}");

    // The log was truncated, and continues as the same log.
    history.note_follower("counters", P0, 40).await.unwrap();
    history.accept_gap(P0, LOG, 25, at(0)).await.unwrap();
    assert_ne!(history.incarnation().await.unwrap(), incarnation);
    assert!(matches!(history.journal(P0, 0, 1).await.unwrap(), JournalRead::Expired(25)));
    assert_eq!(entries(&history, 25, 1).await, []);
    assert_eq!(history.post(&post("p")).await.unwrap().unwrap().likes, 1, "what was counted stays");
    assert_eq!(history.verify().await.unwrap().differences, NONE);
    let mut again = batch(epoch, 25, 35, vec![event(32, "b", "p", "like")]);
    again.rejected = vec![rejected(27)];
    commit(&history, again).await;
    assert_eq!(entries(&history, 25, 1).await, [(25, 35)]);
    assert_eq!(history.rejected(None, 9).await.unwrap().len(), 1, "the same record of the same log");

    // The log was made again.
    history.accept_gap(P0, LOG + 1, 0, at(0)).await.unwrap();
    let refused = history.commit(Arc::new(batch(epoch, 0, 10, vec![]))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gap, "it was read from the log before: {refused}");
    commit(&history, CommitBatch { log: LOG + 1, from: 0, ..first }).await;
    assert_eq!(entries(&history, 0, 9).await, [(0, 30)]);
    assert_eq!(history.rejected(None, 9).await.unwrap().len(), 2, "the same offset in two logs");
    store.follow().await;
    assert_eq!(history.post(&post("p")).await.unwrap().unwrap().likes, 2);
    assert_eq!(history.verify().await.unwrap().differences, NONE);
}

pub(crate) async fn a_batch_out_of_order_is_refused(stores: &impl Stores) {
    let history = stores.empty().await.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    let like = |offset| event(offset, "a", &format!("p{offset}"), "like");
    let mut outside = batch(epoch, 0, 10, vec![]);
    outside.rejected = vec![rejected(10)];
    for bad in [
        batch(epoch, 0, 0, vec![]),
        batch(epoch, 0, 10, vec![like(5), like(4)]),
        batch(epoch, 0, 10, vec![like(10)]),
        outside,
        CommitBatch { to: 1 << 63, ..batch(epoch, 0, 10, vec![]) },
    ] {
        let refused = history.commit(Arc::new(bad)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    let claim = history.claimed(P0).await.unwrap();
    assert_eq!((claim.position, claim.log), (0, None));
}

pub(crate) async fn a_read_of_the_journal_is_bounded_by_effects_and_entries(stores: &impl Stores) {
    let history = stores.empty().await.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    for from in [0, 10, 20] {
        let likes = (0..3).map(|i| event(from + i, "a", &format!("p{from}-{i}"), "like")).collect();
        commit(&history, batch(epoch, from, from + 10, likes)).await;
    }
    for from in (30..200).step_by(10) {
        commit(&history, batch(epoch, from, from + 10, vec![])).await;
    }
    assert_eq!(entries(&history, 0, 5).await, [(0, 10)], "two entries have six effects");
    assert_eq!(entries(&history, 0, 6).await, [(0, 10), (10, 20)]);
    assert_eq!(entries(&history, 15, 5).await, [(10, 20)]);
    assert_eq!(entries(&history, 30, 2).await, [(30, 40), (40, 50)], "each counts as an effect");
    assert_eq!(entries(&history, 0, usize::MAX).await.len(), 20);
    assert_eq!(entries(&history, 37, usize::MAX).await.len(), 17);
}
