//! Reads about one post.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use feedkit_core::CounterStore;
use serde_json::json;

use super::world::World;

const EVENTS: &[(&str, &str, &str)] =
    &[("w", "p", "post"), ("a", "p", "like"), ("b", "p", "like"), ("a", "p", "comment"), ("a", "q", "like")];

#[tokio::test]
async fn a_post_is_counted_by_the_counters() {
    let world = World::new().await;
    world.commit(EVENTS).await;
    let expected = json!({
        "postId": "p", "author": "w", "likes": 2, "comments": 1, "counts": {"comment": 1, "like": 2},
        "source": "counters"
    });
    assert_eq!(world.get("/api/posts/p").await.ok(), expected);
    assert_eq!(world.queries.hooks.asked(), 0, "the history is not needed");
}

#[tokio::test]
async fn the_history_answers_and_says_so_while_the_counters_cannot() {
    let world = World::new().await;
    world.commit(EVENTS).await;
    let counted = world.get("/api/posts/p").await.ok();
    world.counters.fail.store(true, Relaxed);
    let mut historical = world.get("/api/posts/p").await.ok();
    assert_eq!(historical["source"], "history");
    historical["source"] = "counters".into();
    assert_eq!(historical, counted, "but for the source it is the same");

    world.counters.fail.store(false, Relaxed);
    let token = world.counters.begin_rebuild().await.unwrap();
    assert_eq!(world.get("/api/posts/p").await.ok()["source"], "history", "while they are rebuilt");
    world.counters.finish_rebuild(token, &Default::default(), 1).await.unwrap();
    assert_eq!(world.get("/api/posts/p").await.ok()["source"], "counters");
}

#[tokio::test(start_paused = true)]
async fn counters_that_hang_are_waited_for_once_and_then_left_alone() {
    let world = World::new().await;
    world.commit(EVENTS).await;
    world.counters.hang.store(true, Relaxed);
    let begun = tokio::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(world.get("/api/posts/p").await.ok()["source"], "history");
    }
    assert_eq!(world.counters.asked.load(Relaxed), 1);
    // The clock stands still but for what is waited for.
    assert_eq!(begun.elapsed().as_secs(), 5);
    world.counters.hang.store(false, Relaxed);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(world.get("/api/posts/p").await.ok()["source"], "counters");
}

#[tokio::test]
async fn a_post_that_nobody_has_named_has_zeros_and_no_author() {
    let world = World::new().await;
    let mut expected = json!({
        "postId": "new", "author": null, "likes": 0, "comments": 0, "counts": {}, "source": "counters"
    });
    assert_eq!(world.get("/api/posts/new").await.ok(), expected);
    world.counters.fail.store(true, Relaxed);
    expected["source"] = "history".into();
    assert_eq!(world.get("/api/posts/new").await.ok(), expected);
}

#[tokio::test]
async fn ids_may_be_escaped_in_the_path() {
    let world = World::new().await;
    world.commit(&[("a", "x:1@y~z", "like"), ("a", "top", "like")]).await;
    assert_eq!(world.get("/api/posts/x%3A1%40y~z").await.ok()["likes"], 1);
    assert_eq!(world.get("/api/posts/x:1@y~z").await.ok()["likes"], 1);
    assert_eq!(world.get("/api/posts/%74op").await.ok()["likes"], 1, "the list has this path otherwise");
}

#[tokio::test]
async fn a_history_that_is_away_is_503_and_keeps_the_reason_to_itself() {
    let world = World::new().await;
    world.counters.fail.store(true, Relaxed);
    world.queries.hooks.fail.store(true, Relaxed);
    let answer = world.get("/api/posts/p").await;
    assert_eq!(answer.headers["retry-after"], "1");
    let problem = answer.problem(503, "unavailable", None);
    assert!(!problem.to_string().contains("db-7"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_history_that_hangs_is_503_in_time() {
    let world = World::new().await;
    let closed = world.queries.hooks.gate.acquire_many(9).await.unwrap();
    for path in ["/api/posts/p/comments", "/api/posts/top?window=1h", "/api/posts/p/activity"] {
        world.get(path).await.problem(503, "unavailable", None);
    }
    world.get_as("token-of-a", "/api/users/me/likes?posts=p").await.problem(503, "unavailable", None);
    drop(closed);
    world.get("/api/posts/p/comments").await.ok();
}
