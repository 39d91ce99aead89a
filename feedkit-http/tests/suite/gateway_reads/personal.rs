//! Reads about the user who asks.

use serde_json::{Value, json};

use super::world::World;

#[tokio::test]
async fn likes_are_the_askers_own() {
    let world = World::new().await;
    world.commit(&[("a", "p", "like"), ("a", "q", "like"), ("b", "r", "like"), ("a", "q", "unlike")]).await;
    let path = "/api/users/me/likes?posts=r,p,q,x,p";
    assert_eq!(world.get_as("token-of-a", path).await.ok(), json!({"liked": ["p"]}));
    assert_eq!(world.get_as("token-of-m", path).await.ok(), json!({"liked": []}));
    let escaped = "/api/users/me/likes?posts=x%3A1%2Cp";
    let answer = world.get_as("token-of-a", escaped).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.ok(), json!({"liked": ["p"]}));

    let answer = world.get(path).await;
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    answer.problem(401, "unauthenticated", None);
    world.get_as("another", path).await.problem(401, "unauthenticated", None);
}

#[tokio::test]
async fn a_hundred_posts_may_be_asked_about() {
    let world = World::new().await;
    world.commit(&[("a", "p99", "like")]).await;
    let list = |n: usize| (0..n).map(|i| format!("p{i}")).collect::<Vec<_>>().join(",");
    let ask =
        async |list: String| world.get_as("token-of-a", &format!("/api/users/me/likes?posts={list}")).await;
    assert_eq!(ask(list(100)).await.ok(), json!({"liked": ["p99"]}));
    ask(list(101)).await.problem(422, "invalid", Some("posts"));
    for list in ["", "a,,b", "a,", "a%20b", &"x".repeat(129)] {
        ask(list.to_owned()).await.problem(422, "invalid", Some("posts"));
    }
    world.get_as("token-of-a", "/api/users/me/likes").await.problem(422, "invalid", Some("posts"));
}

#[tokio::test]
async fn alerts_are_for_moderators_and_come_page_by_page() {
    let world = World::new().await;
    world.get("/api/alerts").await.problem(401, "unauthenticated", None);
    world.get_as("token-of-a", "/api/alerts").await.problem(403, "forbidden", None);
    assert_eq!(world.get_as("token-of-m", "/api/alerts").await.ok(), json!({"alerts": [], "next": null}));

    world.raise(0, 5).await;
    let expected: Vec<_> = (0..5).rev().map(|i| json!(format!("alert:{i}"))).collect();
    for limit in 1..=6 {
        let (mut ids, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("/api/alerts?limit={limit}{cursor}");
            let page = world.get_as("token-of-m", &path).await.ok();
            ids.extend(page["alerts"].as_array().unwrap().iter().map(|a| a["id"].clone()));
            pages += 1;
            match &page["next"] {
                Value::Null => break,
                next => cursor = format!("&cursor={}", next.as_str().unwrap()),
            }
        }
        assert_eq!(ids, expected, "pages of {limit}");
        assert_eq!(pages, 5_usize.div_ceil(limit), "pages of {limit}: none is empty");
    }
    let page = world.get_as("token-of-m", "/api/alerts?limit=1").await.ok();
    let alert = &page["alerts"][0];
    assert_eq!((&alert["type"], &alert["severity"]), (&json!("FRAUD"), &json!("critical")));
    assert_eq!((&alert["audience"], &alert["data"]), (&json!({"role": "moderator"}), &json!({"rate": 12.5})));

    // New alerts do not move the pages that follow.
    let cursor = page["next"].as_str().unwrap();
    world.raise(5, 3).await;
    let page = world.get_as("token-of-m", &format!("/api/alerts?limit=1&cursor={cursor}")).await.ok();
    assert_eq!(page["alerts"][0]["id"], "alert:3");
}

#[tokio::test]
async fn reads_need_a_token_where_the_settings_say_so() {
    let world = World::with_settings(|options| options.reads_need_token = true).await;
    for path in ["/api/posts/p", "/api/posts/p/comments", "/api/posts/p/activity", "/api/posts/top"] {
        world.get(path).await.problem(401, "unauthenticated", None);
        world.get_as("another", path).await.problem(401, "unauthenticated", None);
        world.get_as("token-of-a", path).await.ok();
    }
}
