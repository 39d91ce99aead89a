//! What only this history has: values that PostgreSQL cannot store, rejected records as bytes, and
//! views.

use std::sync::Arc;

use feedkit_core::codec::InvalidEvent;
use feedkit_core::history::{CommitBatch, Rejected};
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{LOG, at, batch, event, rejected};
use feedkit_core::{ErrorKind, EventId, History, Inspect, Partition, Timestamp};
use feedkit_store::postgres::PostgresHistory;
use feedkit_test_services::{apply, needs_postgres};

use super::support::{Databases, client, connect, followed, options};
use crate::histories::NONE;

const P0: Partition = Partition(0);

async fn commit(history: &PostgresHistory, batch: CommitBatch) {
    history.commit(Arc::new(batch)).await.unwrap();
}

async fn differences(history: &PostgresHistory) -> Vec<String> {
    history.verify().await.unwrap().differences
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_history_gets_another_incarnation() {
    let databases = Databases::new();
    let history = databases.store().await.history();
    let restored = history.incarnation().await.unwrap();
    assert_ne!(history.after_restore().await.unwrap(), restored);
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_beyond_what_the_column_holds_is_refused() {
    let databases = Databases::new();
    let history = databases.store().await.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    let far = CommitBatch { partition: Partition(1 << 31), ..batch(epoch, 0, 10, vec![]) };
    let refused = history.commit(Arc::new(far)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert_eq!(history.claimed(P0).await.unwrap().position, 0);
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_a_data_error_and_changes_nothing() {
    let databases = Databases::new();
    let history = databases.store().await.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    let good = event(0, "a", "p", "comment");
    let mut with_nul = event(1, "a", "p", "comment");
    with_nul.event.text = Some("a\0b".to_owned());
    let mut attribute = event(1, "a", "p", "comment");
    attribute.event.attributes.insert("x".to_owned(), "\0".to_owned());
    let mut far = event(1, "a", "p", "comment");
    far.event.id = EventId::derived(Timestamp::from_millis((1 << 48) - 1), 0);
    for (bad, state) in [(with_nul, "22021"), (attribute, "22P05"), (far, "calendar")] {
        let both = batch(epoch, 0, 10, vec![good.clone(), bad]);
        let error = history.commit(Arc::new(both)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains(state), "{error}");
        assert_eq!(history.claimed(P0).await.unwrap().position, 0);
    }
    assert_eq!(history.verify().await.unwrap().events, 0);

    // The pipeline halves the batch: the faulty event is rejected with the reason, which may quote
    // it.
    commit(&history, batch(epoch, 0, 1, vec![good])).await;
    let record = Record { offset: 1, time: at(1), key: None, value: "{\"text\":\"a\0b\"}".into() };
    let fault = InvalidEvent::of("te\0xt", "has a \0");
    let mut rest = batch(epoch, 1, 10, vec![]);
    rest.rejected = vec![Rejected::new(&record, fault)];
    commit(&history, rest).await;
    let kept = &history.rejected(None, 9).await.unwrap()[0];
    assert_eq!((kept.detail.as_str(), kept.field.as_deref()), ("has a \u{fffd}", Some("te\u{fffd}xt")));
    assert_eq!(kept.value, "{\"text\":\"a\0b\"}");
    assert_eq!(differences(&history).await, NONE);
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn rejected_records_are_handed_out_with_their_bytes_and_forgotten() {
    let databases = Databases::new();
    let history = databases.store().await.history();
    let epoch = history.claim(P0, "group").await.unwrap().epoch;
    let large = Record { offset: 5, time: at(5), key: None, value: vec![b'x'; 100 << 10].into() };
    let many = (0..3).map(rejected).chain([Rejected::new(&large, InvalidEvent::of("a", "b"))]);
    let mut one = batch(epoch, 0, 10, vec![]);
    one.rejected = many.collect();
    commit(&history, one).await;
    let mut values = history.rejected_values(None, 3).await.unwrap();
    values.extend(history.rejected_values(Some(values[2].key), 9).await.unwrap());
    let seen: Vec<_> = values.iter().map(|v| (v.key.offset, v.key.log, v.value.len(), v.whole)).collect();
    assert_eq!(seen, [(0, LOG, 2, true), (1, LOG, 2, true), (2, LOG, 2, true), (5, LOG, 64 << 10, false)]);
    assert_eq!(history.remove_rejected(&[values[0].key, values[3].key, values[3].key]).await.unwrap(), 2);
    let left: Vec<_> = history.rejected(None, 9).await.unwrap().iter().map(|r| r.offset).collect();
    assert_eq!(left, [1, 2]);
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_views_add_up_rank_and_compare() {
    let databases = Databases::new();
    let url = databases.url().await;
    let followed = followed(&connect(options(&url)).await);
    let epoch = followed.claim(P0, "group").await.unwrap().epoch;
    let day = 86_400;
    // The columns are user, post, kind and day.
    let list = [
        ("a", "p", "like", 0),
        ("b", "p", "like", 0),
        ("a", "q", "like", 0),
        ("c", "p", "like", 1),
        ("b", "q", "like", 1),
        ("c", "q", "like", 1),
        ("a", "p", "unlike", 3),
        ("d", "q", "like", 40),
    ];
    let events = (0..).zip(list).map(|(offset, (user, post, kind, days))| {
        let mut logged = event(offset, user, post, kind);
        logged.event.time = at(days * day + 10);
        logged
    });
    followed.commit(Arc::new(batch(epoch, 0, 10, events.collect()))).await.unwrap();
    let client = client(&url).await;
    let rows = client
        .query(
            "SELECT (day - date '2026-01-01')::int, post_id, likes, running_total, rank_of_day, \
             change_from_day_before FROM likes_per_day ORDER BY day, rank_of_day",
            &[],
        )
        .await
        .unwrap();
    let rows: Vec<(i32, String, i64, i64, i64, i64)> =
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4), r.get(5))).collect();
    let of = |day, post: &str, likes, total, rank, change| (day, post.to_owned(), likes, total, rank, change);
    let expected = [
        of(0, "p", 2, 2, 1, 2),
        of(0, "q", 1, 1, 2, 1),
        of(1, "q", 2, 3, 1, 1),
        of(1, "p", 1, 3, 2, -1),
        of(3, "p", -1, 2, 1, -1),
        of(40, "q", 1, 4, 1, 1),
    ];
    assert_eq!(rows, expected);
    let months = client
        .query("SELECT month::text, rank, post_id, likes FROM top_posts_month ORDER BY month, rank", &[])
        .await
        .unwrap();
    let months: Vec<(String, i64, String, i64)> =
        months.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect();
    let of = |month: &str, rank, post: &str, likes| (month.to_owned(), rank, post.to_owned(), likes);
    let expected = [of("2026-01-01", 1, "q", 3), of("2026-01-01", 2, "p", 2), of("2026-02-01", 1, "q", 1)];
    assert_eq!(months, expected);
}
