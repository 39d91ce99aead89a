//! Lists and their pages.

use std::sync::atomic::Ordering::Relaxed;

use feedkit_core::EventId;
use feedkit_core::testkit::conformance::support::{at, event};
use serde_json::{Value, json};

use super::world::{NOW, World};

/// All pages of comments, by the ids on them.
async fn pages(world: &World, path: &str, limit: usize) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("{path}?limit={limit}{cursor}")).await.ok();
        let ids = page["comments"].as_array().unwrap().iter();
        pages.push(ids.map(|c| c["id"].as_str().unwrap().to_owned()).collect());
        match &page["next"] {
            Value::Null => return pages,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
}

#[tokio::test]
async fn comments_come_newest_first_and_page_by_page() {
    let world = World::new().await;
    let users = ["a", "b", "c"];
    let mut events: Vec<_> = (0..7).map(|i| event(i, users[i as usize % 3], "p", "comment")).collect();
    // Three of one time: two of one id, and a greater one.
    for logged in &mut events[2..5] {
        logged.event.time = at(2);
        logged.event.id = EventId::derived(at(2), 7);
    }
    events[4].event.id = EventId::derived(at(2), 9);
    let key = |e: &feedkit_core::Event| (e.time, e.id, e.user.clone());
    let mut expected: Vec<_> = events.iter().map(|e| key(&e.event)).collect();
    expected.sort();
    expected.reverse();
    world.commit_events(events).await;
    world.commit(&[("a", "q", "comment")]).await;

    let all = world.get("/api/posts/p/comments").await.ok();
    assert_eq!(all["next"], Value::Null);
    let first = &all["comments"][0];
    assert_eq!(
        *first,
        json!({"id": expected[0].1.to_string(), "userId": "a", "text": "text 6", "timestamp": at(6).to_string()})
    );
    let users: Vec<_> = all["comments"].as_array().unwrap().iter().map(|c| c["userId"].clone()).collect();
    let expected_users: Vec<_> = expected.iter().map(|(_, _, user)| json!(user)).collect();
    assert_eq!(users, expected_users);

    let expected: Vec<String> = expected.iter().map(|(_, id, _)| id.to_string()).collect();
    for limit in 1..=8 {
        let pages = pages(&world, "/api/posts/p/comments", limit).await;
        assert_eq!(pages.concat(), expected, "pages of {limit}");
        let full = expected.len().div_ceil(limit);
        assert_eq!(pages.len(), full, "pages of {limit}: none is empty");
    }
}

#[tokio::test]
async fn a_post_without_comments_has_an_empty_page() {
    let world = World::new().await;
    let expected = json!({"comments": [], "next": null});
    assert_eq!(world.get("/api/posts/nobody/comments").await.ok(), expected);
}

#[tokio::test]
async fn activity_comes_by_hour_and_by_day() {
    let world = World::new().await;
    let mut events: Vec<_> = (0..5).map(|i| event(i, &format!("u{i}"), "p", "like")).collect();
    for (logged, seconds) in events.iter_mut().zip([-90_000, -3600, 10, 20, 3700]) {
        logged.event.time = at(seconds);
    }
    world.commit_events(events).await;
    let bucket = |seconds, likes: i64| json!({"start": at(seconds).to_string(), "counts": {"like": likes}});

    let by_hour = world.get("/api/posts/p/activity").await.ok();
    assert_eq!(
        by_hour,
        json!({"buckets": [bucket(-3600, 1), bucket(0, 2), bucket(3600, 1)]}),
        "the last 24 hours"
    );
    let by_day = world.get("/api/posts/p/activity?by=day").await.ok();
    let day =
        |seconds: i64, likes| bucket(at(seconds).day().since(at(-172_800)).as_secs() as i64 - 172_800, likes);
    assert_eq!(by_day, json!({"buckets": [day(-90_000, 1), day(-3600, 1), day(0, 3)]}));

    let (from, to) = (at(-1800), at(3600));
    let bounded = world.get(&format!("/api/posts/p/activity?from={from}&to={to}")).await.ok();
    assert_eq!(bounded, json!({"buckets": [bucket(0, 2)]}), "those that start within the bounds");
    let offset = "/api/posts/p/activity?from=2026-01-01T02:00:00+02:00&to=2026-01-01T02:00:00%2B01:00";
    assert_eq!(world.get(offset).await.ok(), json!({"buckets": [bucket(0, 2)]}), "with other offsets");
    let empty = world.get(&format!("/api/posts/p/activity?from={to}&to={to}")).await.ok();
    assert_eq!(empty, json!({"buckets": []}));
}

const LIKES: &[(&str, &str, &str)] = &[
    ("a", "p", "like"),
    ("b", "p", "like"),
    ("c", "p", "like"),
    ("a", "r", "like"),
    ("a", "q", "like"),
    ("b", "q", "comment"),
];

#[tokio::test]
async fn the_most_liked_come_first() {
    let world = World::new().await;
    world.commit(LIKES).await;
    let ranked = |post: &str, likes: i64| json!({"postId": post, "likes": likes, "score": likes as f64});
    let all = [ranked("p", 3), ranked("q", 1), ranked("r", 1)];
    let expected = json!({"posts": all, "source": "counters"});
    assert_eq!(world.get("/api/posts/top").await.ok(), expected);
    assert_eq!(world.get("/api/posts/top?by=likes&window=all").await.ok(), expected);
    assert_eq!(world.get("/api/posts/top?limit=1").await.ok()["posts"], json!(all[..1]));
    world.counters.fail.store(true, Relaxed);
    let expected = json!({"posts": all, "source": "history"});
    assert_eq!(world.get("/api/posts/top").await.ok(), expected);
}

#[tokio::test]
async fn windows_count_what_lies_in_them() {
    let world = World::new().await;
    let mut events: Vec<_> = (0..5).map(|i| event(i, &format!("u{i}"), &format!("p{i}"), "like")).collect();
    for (logged, hours) in events.iter_mut().zip([0, 5, 48, 200, 1000]) {
        logged.event.time = at(NOW - hours * 3600);
    }
    world.commit_events(events).await;
    for (window, posts) in [("1h", 1), ("24h", 2), ("7d", 3), ("30d", 4), ("all", 5)] {
        let top = world.get(&format!("/api/posts/top?window={window}")).await.ok();
        let names: Vec<_> = top["posts"].as_array().unwrap().iter().map(|p| p["postId"].clone()).collect();
        let expected: Vec<_> = (0..posts).map(|i| json!(format!("p{i}"))).collect();
        assert_eq!(names, expected, "{window}");
        assert_eq!(top["source"], if window == "all" { "counters" } else { "history" });
    }
}

#[tokio::test]
async fn trending_prefers_what_is_liked_now() {
    let world = World::new().await;
    let mut events: Vec<_> = (0..3).map(|i| event(i, &format!("u{i}"), "old", "like")).collect();
    for logged in &mut events {
        logged.event.time = at(NOW - 24 * 3600);
    }
    events.push(event(3, "u", "new", "like"));
    world.commit_events(events).await;
    for source in ["counters", "history"] {
        world.counters.fail.store(source == "history", Relaxed);
        let top = world.get("/api/posts/top?by=trending&window=all").await.ok();
        assert_eq!(top["source"], source);
        assert_eq!((&top["posts"][0]["postId"], &top["posts"][0]["likes"]), (&json!("new"), &json!(1)));
        assert_eq!((&top["posts"][1]["postId"], &top["posts"][1]["likes"]), (&json!("old"), &json!(3)));
    }
    world.get("/api/posts/top?by=trending&window=24h").await.problem(422, "invalid", Some("window"));
}
