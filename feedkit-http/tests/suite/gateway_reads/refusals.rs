//! Requests that are refused, with the field at fault.

use super::world::{World, request};

/// Paths with a fault, and the field that has to be named.
const FAULTS: &[(&str, &str)] = &[
    ("/api/posts/p?limit=1", "limit"),
    ("/api/posts/p?After=0:1", "After"),
    ("/api/posts/a%20b", "id"),
    ("/api/posts/%ff", "id"),
    ("/api/posts/p?after=1", "after"),
    ("/api/posts/p?after=1:", "after"),
    ("/api/posts/p?after=%2B0:%2B1", "after"),
    ("/api/posts/p?after=0:99999999999999999999", "after"),
    ("/api/posts/p?after=0:0000000000000000001", "after"),
    ("/api/posts/p?after=0000000000:1", "after"),
    ("/api/posts/p?after=7:1", "after"),
    ("/api/posts/p?after=0:1&after=0:2", "after"),
    ("/api/posts/p/comments?limit=0", "limit"),
    ("/api/posts/p/comments?limit=101", "limit"),
    ("/api/posts/p/comments?limit=%2B5", "limit"),
    ("/api/posts/p/comments?limit=", "limit"),
    ("/api/posts/p/comments?limit=5.0", "limit"),
    ("/api/posts/p/comments?cursor=", "cursor"),
    ("/api/posts/p/comments?cursor=AAAA", "cursor"),
    ("/api/posts/p/comments?cursor=%00", "cursor"),
    // A time beyond the calendar, with a good id and user.
    ("/api/posts/p/comments?cursor=f_________8BlR-j4AB3AIAAAAAAAAAAYQ", "cursor"),
    ("/api/posts/p/comments?page=2", "page"),
    ("/api/posts/p/activity?by=week", "by"),
    ("/api/posts/p/activity?by=Hour", "by"),
    ("/api/posts/p/activity?from=yesterday", "from"),
    ("/api/posts/p/activity?to=2026-01-01", "to"),
    ("/api/posts/p/activity?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ("/api/posts/p/activity?from=2025-01-01T00:00:00Z", "from"),
    ("/api/posts/p/activity?by=day&from=2020-01-01T00:00:00Z", "from"),
    ("/api/posts/p/activity?limit=1", "limit"),
    ("/api/posts/top?by=comments", "by"),
    ("/api/posts/top?window=2h", "window"),
    ("/api/posts/top?by=trending&window=1h", "window"),
    ("/api/posts/top?limit=1000", "limit"),
    ("/api/posts/top?q=x", "q"),
    ("/api/users/me/likes?posts=a&limit=1", "limit"),
    ("/api/users/me/likes?posts=a/b", "posts"),
    ("/api/alerts?limit=-1", "limit"),
    ("/api/alerts?cursor=1", "cursor"),
    ("/api/alerts?cursor=__________8", "cursor"),
    ("/api/alerts?before=3", "before"),
];

#[tokio::test]
async fn what_is_wrong_is_refused_by_name() {
    let world = World::new().await;
    for (path, field) in FAULTS {
        println!("{path}");
        world.get_as("token-of-m", path).await.problem(422, "invalid", Some(field));
    }
    assert_eq!(world.queries.hooks.asked(), 0, "nothing was looked up");
}

#[tokio::test]
async fn a_client_is_not_told_back_more_than_a_little_of_what_it_sent() {
    let world = World::new().await;
    let long = "x".repeat(5000);
    for path in [format!("/api/posts/p?{long}=1"), format!("/api/posts/top?by={long}")] {
        let problem = world.get(&path).await.json;
        assert!(problem.to_string().len() < 600, "{problem}");
    }
}

#[tokio::test]
async fn only_reading_is_a_method_here() {
    let world = World::new().await;
    for path in ["/api/posts/p", "/api/posts/top", "/api/alerts", "/docs", "/openapi.json"] {
        let mut post = request(path);
        post.set_method(poem::http::Method::POST);
        assert_eq!(world.send(post).await.status, 405, "{path}");
    }
    let mut head = request("/api/posts/p");
    head.set_method(poem::http::Method::HEAD);
    assert_eq!(world.send(head).await.status, 200);
}
