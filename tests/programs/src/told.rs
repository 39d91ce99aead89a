//! Who is told what, from a like to a socket, with any servers in between.

use std::time::Duration;

use feedkit_core::{Clock, EventId, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::{Client, Served, Socket};

/// An event with an id of its own.
pub fn event(user: &str, post: &str, kind: &str) -> Value {
    json!({"id": EventId::new(SystemClock.now()), "userId": user, "postId": post, "type": kind})
}

/// Likes of this many users.
pub fn likes(post: &str, count: usize) -> Vec<Value> {
    (0..count).map(|n| event(&format!("fan-{n}"), post, "like")).collect()
}

/// All events at once, by one who may write for everybody.
pub async fn send(writer: &Client, events: &[Value]) -> Value {
    let answer = writer.post("/api/events/batch", &json!(events)).await.expect(200);
    assert_eq!(answer["accepted"], events.len(), "{answer}");
    answer
}

/// Publishes a post.
pub async fn publish(server: &impl Served, author: &str, post: &str) {
    server.client(author).post("/api/events", &event(author, post, "post")).await.expect(202);
}

/// Gives the user a milestone that can only come after all that was raised before.
pub async fn mark(server: &impl Served, user: &str, post: &str) -> String {
    publish(server, user, post).await;
    send(&server.writer(), &likes(post, 10)).await;
    format!("milestone:{post}:10")
}

/// A socket of a user that listens to some channels.
pub async fn listen(server: &impl Served, user: &str, roles: &[&str], channels: &[&str]) -> Socket {
    let mut socket = Socket::open(server.address(), &server.token(user, roles, &[])).await;
    socket.subscribe(channels, None).await;
    socket
}

/// The author hears of the 10th and of the 100th like, once each, and nobody else does.
pub async fn a_hundred_likes_are_told_to_the_author_alone_and_once(server: &impl Served) {
    publish(server, "ann", "p").await;
    let mut sockets = Vec::new();
    for (user, roles) in [("ann", &[][..]), ("bob", &[]), ("mod", &["moderator"])] {
        sockets.push((user, listen(server, user, roles, &["me"]).await));
    }
    // Each user by themselves, all at once.
    let liking = (0..100).map(|n| {
        let user = format!("fan-{n}");
        let client = server.client(&user);
        async move { client.post("/api/events", &event(&user, "p", "like")).await.expect(202) }
    });
    futures_util::future::join_all(liking).await;
    for (user, mut socket) in sockets {
        if user == "ann" {
            // The one before comes first, and shows what it looks like.
            assert_eq!(socket.notification().await.unwrap()["id"], "milestone:p:10");
            let hundred = socket.notification().await.unwrap();
            assert_eq!(hundred["id"], "milestone:p:100");
            assert_eq!(hundred["title"], "Your post got 100 likes", "{hundred}");
            assert_eq!(hundred["audience"], json!({"user": "ann"}), "{hundred}");
        }
        let last = mark(server, user, &format!("of-{user}")).await;
        assert_eq!(socket.ids_until(&last).await, [last], "{user} was told something else");
    }
}

/// Moderators hear of a spike of likes, and the author of the post does not.
pub async fn a_like_farm_is_told_to_moderators_alone(server: &impl Served) {
    publish(server, "ann", "p").await;
    let mut moderator = listen(server, "mod", &["moderator"], &["role:moderator"]).await;
    let mut ann = listen(server, "ann", &[], &["me", "post:p"]).await;
    // Who is no moderator does not hear what they hear.
    let mut bob = Socket::open(server.address(), &server.token("bob", &[], &[])).await;
    bob.send(&json!({"type": "subscribe", "channels": ["role:moderator"]})).await;
    let refused = bob.next().await;
    assert!(refused.is_none_or(|frame| frame["type"] == "error"), "bob listens to moderators");

    // Four minutes of a like every two seconds, then two hundred within five.
    let now = SystemClock.now();
    let at = |ago: f64| now.saturating_sub(Duration::from_secs_f64(ago));
    let like = |user: String, time: Timestamp| {
        let id = EventId::new(time);
        json!({"id": id, "userId": user, "postId": "p", "type": "like", "timestamp": time})
    };
    let usual = (0..120).map(|n| like(format!("fan-{n}"), at(250.0 - 2.0 * f64::from(n))));
    let farmed = (0..200).map(|n| like(format!("farm-{n}"), at(6.0 - 0.025 * f64::from(n))));
    send(&server.writer(), &usual.chain(farmed).collect::<Vec<_>>()).await;

    let fraud = moderator.notification().await.unwrap();
    assert_eq!(fraud["type"], "FRAUD", "{fraud}");
    assert_eq!(fraud["audience"], json!({"role": "moderator"}));
    let data = &fraud["data"];
    assert_eq!((&data["postId"], &data["rule"]), (&json!("p"), &json!("spike")), "{fraud}");
    let sample = data["sampleUsers"].as_array().unwrap();
    assert!(sample.iter().any(|user| user.as_str().unwrap().starts_with("farm-")), "{fraud}");
    for number in ["rate", "expected", "score"] {
        assert!(data[number].as_f64().unwrap() > 0.0, "{fraud}");
    }
    let last = mark(server, "ann", "q").await;
    let ids = ann.ids_until(&last).await;
    assert!(ids.iter().all(|id| id.starts_with("milestone:")), "ann was told {ids:?}");
}
