//! Who is told what, from a like to a socket.

use std::time::Duration;

use feedkit_core::{Clock, EventId, SystemClock, Timestamp};
use serde_json::{Value, json};

#[cfg(feature = "failpoints")]
use crate::http::JSON;
use crate::http::{Client, eventually};
use crate::program::Place;
use crate::server::Server;
use crate::socket::Socket;

fn event(user: &str, post: &str, kind: &str) -> Value {
    let id = EventId::new(SystemClock.now());
    json!({"id": id, "userId": user, "postId": post, "type": kind})
}

async fn publish(server: &Server, author: &str, post: &str) {
    server.client(author).post("/api/events", &event(author, post, "post")).await.expect(202);
}

/// Likes of so many users.
fn likes(post: &str, count: usize) -> Vec<Value> {
    (0..count).map(|n| event(&format!("fan-{n}"), post, "like")).collect()
}

/// All events at once, by one who may write for everybody.
async fn send(writer: &Client, events: &[Value]) {
    let answer = writer.post("/api/events/batch", &json!(events)).await.expect(200);
    assert_eq!(answer["accepted"], events.len(), "{answer}");
}

/// Gives the user a milestone that can only come after all that was raised before.
async fn mark(server: &Server, user: &str, post: &str) -> String {
    publish(server, user, post).await;
    send(&server.writer(), &likes(post, 10)).await;
    format!("milestone:{post}:10")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_likes_are_told_to_the_author_alone_and_once() {
    let place = Place::new();
    let server = Server::of(&place);
    publish(&server, "ann", "p").await;
    let mut sockets = Vec::new();
    for (user, roles) in [("ann", &[][..]), ("bob", &[]), ("mod", &["moderator"])] {
        let mut socket = Socket::open(server.address, &server.token(user, roles, &[])).await;
        socket.subscribe(&["me"], None).await;
        sockets.push((user, socket));
    }
    // Each user by themselves, all at once.
    let liking = (0..100).map(|n| {
        let user = format!("fan-{n}");
        let client = server.client(&user);
        async move { client.post("/api/events", &event(&user, "p", "like")).await.expect(202) }
    });
    futures_util::future::join_all(liking).await;
    for (user, mut socket) in sockets {
        let ids = match user {
            "ann" => {
                // The one before comes first, and shows what it looks like.
                let ten = socket.notification().await.unwrap();
                assert_eq!(ten["id"], "milestone:p:10");
                let hundred = socket.notification().await.unwrap();
                assert_eq!(hundred["id"], "milestone:p:100");
                assert_eq!(hundred["title"], "Your post got 100 likes", "{hundred}");
                assert_eq!(hundred["audience"], json!({"user": "ann"}), "{hundred}");
                Vec::new()
            }
            _ => Vec::new(),
        };
        let last = mark(&server, user, &format!("of-{user}")).await;
        let ids = [ids, socket.ids_until(&last).await].concat();
        assert_eq!(ids, [last], "{user} was told something else");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_told_once_after_a_reconnect() {
    let place = Place::new();
    let server = Server::of(&place);
    publish(&server, "ann", "p").await;
    let token = server.token("ann", &[], &[]);
    let mut socket = Socket::open(server.address, &token).await;
    socket.subscribe(&["me"], None).await;
    let cursor = socket.cursor.clone().unwrap();
    drop(socket);
    send(&server.writer(), &likes("p", 100)).await;
    // Raised and published before she comes back, and the server started anew meanwhile.
    let moderator = Client::new(server.address, Some(server.token("mod", &["moderator"], &[])));
    eventually("the alert", async || {
        let alerts = moderator.get("/api/alerts").await.expect(200);
        alerts.to_string().contains("milestone:p:100").then_some(())
    })
    .await;
    server.stop();
    let server = Server::of(&place);
    let mut socket = Socket::open(server.address, &token).await;
    assert!(socket.subscribe(&["me"], Some(&cursor)).await, "not recovered");
    assert_eq!(socket.ids_until("milestone:p:100").await, ["milestone:p:10", "milestone:p:100"]);
    let cursor = socket.cursor.clone().unwrap();
    drop(socket);
    let mut socket = Socket::open(server.address, &token).await;
    assert!(socket.subscribe(&["me"], Some(&cursor)).await, "not recovered");
    let last = mark(&server, "ann", "q").await;
    assert_eq!(socket.ids_until(&last).await, [last], "told twice");
    server.stop();
}

/// Killed when the alert is raised and before it is told: as it is written, and as it is published.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_alert_and_the_push_it_is_told_once() {
    use feedkit_core::failpoint::stage;
    for stage in [stage::ALERT_STEP, stage::RELAY, stage::AFTER_COMMIT] {
        let place = Place::new();
        let server = Server::of(&place);
        publish(&server, "ann", "p").await;
        let token = server.token("ann", &[], &[]);
        let mut socket = Socket::open(server.address, &token).await;
        socket.subscribe(&["me"], None).await;
        let cursor = socket.cursor.clone().unwrap();
        drop(socket);
        server.stop();

        let mut command = place.feedkit(&["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0"]);
        let command = command.args(["--milestone-thresholds", "100"]);
        let server = Server::start(command.env("FEEDKIT_FAILPOINT", format!("{stage}:1")), &place.data());
        let server = server.unwrap_or_else(|output| panic!("{}", crate::program::said(&output)));
        let mut socket = Socket::open(server.address, &token).await;
        assert!(socket.subscribe(&["me"], Some(&cursor)).await, "not recovered");
        let events = likes("p", 100);
        // Whether it is answered, nobody knows.
        let _ = server.writer().try_post("/api/events/batch", JSON, json!(events).to_string().into()).await;
        let mut told = Vec::new();
        while let Some(notification) = socket.notification().await {
            told.push(notification["id"].as_str().unwrap().to_owned());
        }
        let output = server.ended();
        assert!(output.status.code().is_none(), "{stage}: it was not killed");

        let server = Server::with(&place, &["--milestone-thresholds", "100"]);
        send(&server.writer(), &events).await;
        let cursor = socket.cursor.clone().unwrap();
        let mut socket = Socket::open(server.address, &token).await;
        assert!(socket.subscribe(&["me"], Some(&cursor)).await, "not recovered");
        publish(&server, "ann", "q").await;
        send(&server.writer(), &likes("q", 100)).await;
        told.extend(socket.ids_until("milestone:q:100").await);
        assert_eq!(told, ["milestone:p:100", "milestone:q:100"], "{stage}");
        server.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_like_farm_is_told_to_moderators_alone() {
    let place = Place::new();
    let server = Server::of(&place);
    publish(&server, "ann", "p").await;
    let mut moderator = Socket::open(server.address, &server.token("mod", &["moderator"], &[])).await;
    moderator.subscribe(&["role:moderator"], None).await;
    let mut ann = Socket::open(server.address, &server.token("ann", &[], &[])).await;
    ann.subscribe(&["me", "post:p"], None).await;
    // Who is no moderator does not hear what they hear.
    let mut bob = Socket::open(server.address, &server.token("bob", &[], &[])).await;
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
    let last = mark(&server, "ann", "q").await;
    let ids = ann.ids_until(&last).await;
    assert!(ids.iter().all(|id| id.starts_with("milestone:")), "ann was told {ids:?}");
    server.stop();
}
