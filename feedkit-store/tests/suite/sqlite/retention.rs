//! The entries of the journal that retention keeps.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::history::{JournalRead, Retained, RetentionPolicy};
use feedkit_core::testkit::conformance::support::{at, batch, event};
use feedkit_core::{History, Partition};

use super::histories::Directories;
use crate::histories::NONE;
use crate::histories::months::{DAY, Months};

const P0: Partition = Partition(0);

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_kept_for_the_slowest_follower_that_is_heard_of() {
    let directories = Directories::default();
    let months = Months::new(&directories, 1).await;
    let ends = months.ends();
    months.note("fast", ends).await;
    months.note("slow", [120, ends[1], 0, 99]).await;
    let dropped = months.retain(1000, 0).await;
    let newest = |p: usize| (ends[p] - 1) / 50 * 50;
    assert_eq!(months.starts().await, [100, newest(1), 0, 50], "whole entries, and the newest stays");
    assert_eq!(dropped.journal_entries, 2 + newest(1) / 50 + 1);
    assert_eq!(dropped.followers, 0);
    let JournalRead::Entries(entries) = months.history.journal(P0, 120, 1).await.unwrap() else { panic!() };
    assert_eq!((entries[0].from, entries[0].to), (100, 150));

    // A follower that has noted one partition may not have read the others yet.
    months.history.note_follower("new", P0, ends[0]).await.unwrap();
    months.note("slow", ends).await;
    months.retain(1000, 0).await;
    assert_eq!(months.starts().await, [newest(0), newest(1), 0, 50]);

    // Eight days later, only one of them has noted a position.
    months.clock.advance(8 * DAY);
    months.note("fast", ends).await;
    let dropped = months.retain(1000, 0).await;
    assert_eq!(dropped.followers, 2);
    assert_eq!(months.starts().await, [0, 1, 2, 3].map(newest));
    assert_eq!(months.differences().await, NONE);
    assert_eq!(months.retain(1000, 0).await, Retained::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_leaves_no_hole_in_the_journal() {
    let directories = Directories::default();
    let months = Months::new(&directories, 3).await;
    let history = &months.history;
    let partition = Partition(9);
    let epoch = history.claim(partition, "g").await.unwrap().epoch;
    for (from, now) in [(0, 1), (10, 5_000_000), (20, 2), (30, 3)] {
        let mut one = batch(epoch, from, from + 10, vec![event(from, "a", "p", "comment")]);
        (one.partition, one.now) = (partition, at(now));
        history.commit(Arc::new(one)).await.unwrap();
    }
    let policy = RetentionPolicy::default().events(9999 * DAY).journal(Duration::ZERO).follower_silence(DAY);
    history.retain(&policy, at(100)).await.unwrap();
    assert!(matches!(history.journal(partition, 0, 1).await.unwrap(), JournalRead::Expired(10)));
    assert_eq!(months.differences().await, NONE);
}
