//! The days of the journal that retention keeps.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::history::{JournalRead, Retained, RetentionPolicy};
use feedkit_core::testkit::conformance::support::{at, batch, event};
use feedkit_core::{History, Inspect, Partition};
use feedkit_test_services::{apply, needs_postgres};

use super::support::{Databases, client};
use crate::histories::NONE;
use crate::histories::months::{DAY, Months};

const P0: Partition = Partition(0);

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_kept_for_the_slowest_follower_that_is_heard_of() {
    let databases = Databases::new();
    let months = Months::new(&databases, 1).await;
    let ends = months.ends();
    months.clock.advance(2 * DAY);
    months.note("fast", ends).await;
    months.note("slow", [120, ends[1], ends[2], ends[3]]).await;
    months.retain(1000, 1).await;
    let starts = months.starts().await;
    assert!(starts[0] > 0 && starts[0] <= 120, "whole days: {starts:?}");
    let JournalRead::Entries(entries) = months.history.journal(P0, 120, 1).await.unwrap() else { panic!() };
    assert!(entries[0].from <= 120 && entries[0].to > 120);
    assert_eq!(months.differences().await, NONE);

    // A follower that has noted one partition may not have read the others yet.
    months.history.note_follower("new", P0, ends[0]).await.unwrap();
    months.note("slow", ends).await;
    months.retain(1000, 1).await;
    assert_eq!(months.starts().await[1..], starts[1..]);

    // Eight days later, only one of them has noted a position.
    months.clock.advance(8 * DAY);
    months.note("fast", ends).await;
    let dropped = months.retain(1000, 1).await;
    assert_eq!(dropped.followers, 2);
    assert_eq!(months.starts().await, ends, "every day is over");
    assert_eq!(months.differences().await, NONE);
    assert_eq!(months.retain(1000, 1).await, Retained::default());
    let admin = client(&months.place).await;
    let marked = "SELECT DISTINCT name FROM followers WHERE needs_rebuild ORDER BY name";
    let marked: Vec<String> = admin.query(marked, &[]).await.unwrap().iter().map(|r| r.get(0)).collect();
    assert_eq!(marked, ["new", "slow"]);
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_leaves_no_hole_in_the_journal() {
    let databases = Databases::new();
    let store = databases.store().await;
    let history = store.history();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    for (from, now) in [(0, 1), (10, 5_000_000), (20, 2), (30, 3)] {
        let mut one = batch(epoch, from, from + 10, vec![event(from, "a", "p", "comment")]);
        one.now = at(now);
        history.commit(Arc::new(one)).await.unwrap();
    }
    let policy = RetentionPolicy::default().events(9999 * DAY).journal(Duration::ZERO).follower_silence(DAY);
    history.retain(&policy, at(5 * 86_400)).await.unwrap();
    assert!(
        matches!(history.journal(P0, 0, 1).await.unwrap(), JournalRead::Entries(_)),
        "its day goes on later"
    );
    history.retain(&policy, at(6_000_000)).await.unwrap();
    assert_eq!(history.verify().await.unwrap().differences, NONE);
}
