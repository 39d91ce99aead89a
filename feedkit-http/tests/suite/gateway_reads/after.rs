//! Reads with `after=POSITION`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::json;

use super::world::World;

const READS: &[&str] = &[
    "/api/posts/p?",
    "/api/posts/p/comments?",
    "/api/posts/p/activity?",
    "/api/posts/top?",
    "/api/posts/top?window=1h&",
    "/api/users/me/likes?posts=p&",
    "/api/alerts?",
];

#[tokio::test]
async fn every_read_waits_until_the_write_is_visible() {
    for path in READS {
        let world = Arc::new(World::new().await);
        let read = tokio::spawn({
            let (world, path) = (world.clone(), format!("{path}after=0:1"));
            async move { world.get_as("token-of-m", &path).await.status }
        });
        while world.visible.waiting.load(Relaxed) == 0 {
            assert!(!read.is_finished(), "{path} does not wait");
            tokio::task::yield_now().await;
        }
        assert!(!read.is_finished(), "{path} does not wait");
        world.visible.show(1);
        assert_eq!(read.await.unwrap(), 200, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_become_visible_in_time_is_504_with_the_age_of_what_is_there() {
    let world = World::new().await;
    for path in READS {
        let answer = world.get_as("token-of-m", &format!("{path}after=0:1")).await;
        assert_eq!(answer.headers["retry-after"], "1");
        let problem = answer.problem(504, "not-yet-visible", None);
        assert_eq!(problem["age"], 5, "{path}: as long as was waited, at least");
    }
    *world.visible.age.lock().unwrap() = Some(Duration::from_millis(90_500));
    let problem = world.get("/api/posts/p?after=0:1").await.problem(504, "not-yet-visible", None);
    assert_eq!(problem["age"], 91);
}

#[tokio::test]
async fn what_is_visible_is_answered_past_the_cache_and_renews_it() {
    let world = World::with_settings(|options| options.cache_ttl = Duration::from_secs(3600)).await;
    let paths = ["/api/posts/p/comments", "/api/posts/p/activity", "/api/posts/top?window=1h"];
    let mut before = Vec::new();
    for path in paths {
        before.push(world.get(path).await.ok());
    }
    world.commit(&[("a", "p", "comment"), ("a", "p", "like")]).await;
    world.clock.set(feedkit_core::testkit::conformance::support::at(60));
    world.visible.show(2);
    for (path, before) in paths.into_iter().zip(before) {
        if !path.contains("activity") {
            assert_eq!(world.get(path).await.ok(), before, "{path} is cached");
        }
        let sign = if path.contains('?') { '&' } else { '?' };
        let fresh = world.get(&format!("{path}{sign}after=0:2")).await.ok();
        assert_ne!(fresh, before, "{path}");
        assert_eq!(world.get(path).await.ok(), fresh, "{path} is cached anew");
    }
    let likes = world.get("/api/posts/p?after=0:2").await.ok()["likes"].clone();
    assert_eq!(likes, json!(1));
}
