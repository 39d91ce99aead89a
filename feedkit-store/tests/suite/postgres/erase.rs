//! Erasing a user's data.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::alert_log::AlertStep;
use feedkit_core::codec::InvalidEvent;
use feedkit_core::history::Rejected;
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{at, batch, event, post, user};
use feedkit_core::{AlertLog, Alerts, History, Inspect, Partition, Queries, Timestamp};
use feedkit_test_services::{apply, needs_postgres};

use super::support::{Databases, client, connect, followed, options};
use crate::histories::NONE;

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_and_all_counts_stay() {
    let databases = Databases::new();
    let url = databases.url().await;
    let store = connect(options(&url)).await;
    let followed = followed(&store);
    let epoch = followed.claim(Partition(0), "g").await.unwrap().epoch;
    let mut events = Vec::new();
    let list = [
        ("u1", "p", "post"),
        ("u1", "p", "comment"),
        ("u1", "q", "like"),
        ("u10", "q", "like"),
        ("u10", "p", "comment"),
        ("u2", "r", "post"),
    ];
    for (offset, (name, post, kind)) in (0..).zip(list) {
        let mut logged = event(offset, name, post, kind);
        logged.event.attributes.insert("client".into(), format!("of {name}"));
        events.push(logged);
    }
    let mut one = batch(epoch, 0, 10, events);
    for (offset, name) in [(7, "u1"), (8, "u10")] {
        let value = format!("{{\"userId\":\"{name}\"").into();
        let record = Record { offset, time: at(7), key: None, value };
        one.rejected.push(Rejected::new(&record, InvalidEvent::of("postId", "is missing")));
    }
    followed.commit(Arc::new(one)).await.unwrap();
    let log = store.alert_log();
    let lease = log.acquire("a", Timestamp::EPOCH, Duration::from_secs(9)).await.unwrap().unwrap();
    let alert = |audience, sample: &[&str]| Notification {
        id: format!("x{}", sample.len()),
        kind: "FRAUD".into(),
        severity: Severity::Critical,
        audience,
        title: "t".into(),
        data: serde_json::Map::from_iter([("sampleUsers".to_owned(), sample.into())]),
        occurred_at: at(0),
    };
    let alerts = vec![
        alert(Audience::Role("moderator".into()), &["u10", "u1"]),
        alert(Audience::User(user("u1")), &["u10"]),
    ];
    let step = AlertStep { number: 1, watermark: at(0), consumed: vec![], alerts };
    log.step(&lease, &step).await.unwrap();

    let erased = followed.inner.erase_user(&user("u1")).await.unwrap();
    let name = erased.pseudonym.clone();
    assert_eq!((erased.events, erased.likes, erased.posts, erased.rejected, erased.alerts), (3, 1, 1, 1, 2));
    for (user, likes) in [(&name, true), (&user("u10"), true), (&user("u1"), false)] {
        let liked = followed.liked(user, &[post("q")]).await.unwrap();
        assert_eq!(!liked.is_empty(), likes, "{user} likes q");
    }
    assert_eq!(followed.post(&post("p")).await.unwrap().unwrap().author, Some(name.clone()));
    let comments = followed.comments(&post("p"), None, 9).await.unwrap();
    let texts: Vec<_> = comments.iter().map(|c| (c.user_id.clone(), c.text.is_some())).collect();
    assert_eq!(texts, [(user("u10"), true), (name.clone(), false)]);
    assert_eq!(followed.verify().await.unwrap().differences, NONE);
    let kept = log.alerts(None, 9).await.unwrap();
    assert_eq!(kept[0].1.audience, Audience::User(name.clone()));
    assert_eq!(kept[1].1.data["sampleUsers"], serde_json::json!(["u10", name]));

    // The name is no longer in any table that a person would read.
    let client = client(&url).await;
    for table in ["events", "likes", "posts", "alerts", "rejected", "post_totals", "post_hourly"] {
        let left = format!("SELECT count(*) FROM {table} AS t WHERE t::text ~ '\\mu1\\M'");
        let left: i64 = client.query_one(&left, &[]).await.unwrap().get(0);
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(followed.inner.erase_user(&user("u1")).await.unwrap().events, 0);
}
