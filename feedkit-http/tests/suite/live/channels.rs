//! Who is told what, and nobody else.

use feedkit_core::notification::Audience;
use serde_json::{Value, json};

use super::world::{World, post, role, user};

#[tokio::test]
async fn each_is_told_what_concerns_them_and_nobody_else() {
    // In one partition, so that the last one arrives last.
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut author = served.socket("u1").await;
    author.subscribe(&["me", "post:p1"], None).await;
    let mut other = served.socket("u2").await;
    other.subscribe(&["me", "post:p2"], None).await;
    let mut moderator = served.socket("mod").await;
    moderator.subscribe(&["me", "role:moderator"], None).await;
    let mut twice = served.socket("u1").await;
    twice.subscribe(&["me"], None).await;
    let mut silent = served.socket("u3").await;
    silent.subscribe(&["top"], None).await;

    for (audience, id) in [
        (user("u1"), "to u1"),
        (user("u2"), "to u2"),
        (user("u3"), "to u3"),
        (post("p1"), "on p1"),
        (post("p2"), "on p2"),
        (role("moderator"), "to moderators"),
        (role("admin"), "to admins"),
        (Audience::All, "to all"),
    ] {
        world.tell(audience, id).await;
    }
    assert_eq!(author.ids(3).await, ["to u1", "on p1", "to all"]);
    assert_eq!(other.ids(3).await, ["to u2", "on p2", "to all"]);
    assert_eq!(moderator.ids(2).await, ["to moderators", "to all"]);
    assert_eq!(twice.ids(2).await, ["to u1", "to all"]);
    assert!(silent.ping().await.is_some());
    for socket in [&mut author, &mut other, &mut moderator, &mut twice] {
        socket.ping().await;
    }
    assert_eq!(served.metric("feedkit_live_notifications_total", ""), 10.0);
    assert_eq!(served.metric("feedkit_live_clients", "websocket"), 5.0);
}

#[tokio::test]
async fn a_notification_arrives_as_it_was_published() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["post:p9"], None).await;
    world.tell(post("p9"), "n1").await;
    let frame = socket.hear().await;
    assert_eq!(frame["channel"], "post:p9");
    let expected = json!({
        "id": "n1", "type": "MILESTONE", "severity": "info", "audience": {"post": "p9"},
        "title": "Your post got 100 likes", "data": {"likes": 100}, "occurredAt": "2025-01-01T00:00:00Z"
    });
    assert_eq!(frame["notification"], expected);
}

#[tokio::test]
async fn a_repeat_is_told_once() {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    for id in ["n1", "n1", "n2", "n1", "n3"] {
        world.tell(user("u1"), id).await;
    }
    assert_eq!(socket.ids(3).await, ["n1", "n2", "n3"]);
}

#[tokio::test]
async fn what_is_not_allowed_is_said_and_the_rest_subscribed() {
    let world = World::new();
    let served = world.serve(|options| options.live.max_channels = 3).await;
    let mut socket = served.socket("u1").await;
    let channels =
        ["me", "role:moderator", "post:a/b", "nonsense", "post:p1", "me", "post:p2", "post:p3", "post:p4"];
    socket.say(json!({"type": "subscribe", "channels": ["post:p1"]})).await;
    socket.hear_kind("subscribed").await;
    let frame = json!({"type": "subscribe", "channels": channels});
    socket.send(tokio_tungstenite::tungstenite::Message::Text(frame.to_string().into())).await;
    let mut codes = Vec::new();
    let subscribed = loop {
        let frame = socket.hear().await;
        match frame["type"].as_str().unwrap() {
            "error" => codes.push(frame["code"].as_str().unwrap().to_owned()),
            _ => break frame,
        }
    };
    // Three refusals are as many as one frame gets.
    assert_eq!(codes, ["forbidden", "invalid-channel", "invalid-channel"]);
    assert_eq!(subscribed["channels"], json!(["me"]));

    socket.say(json!({"type": "subscribe", "channels": ["post:p1", "post:p2", "post:p3"]})).await;
    let error = socket.hear_kind("error").await;
    assert_eq!(error["code"], "too-many-channels");
    assert!(error["detail"].as_str().unwrap().contains("post:p3"), "{error}");
    assert_eq!(socket.hear().await["channels"], json!(["post:p1", "post:p2"]));
}

#[tokio::test]
async fn unsubscribed_channels_are_silent() {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me", "post:p1"], None).await;
    socket.say(json!({"type": "unsubscribe", "channels": ["post:p1", "post:never"]})).await;
    let before: Value = socket.ping().await.into();
    world.tell(post("p1"), "on p1").await;
    world.tell(user("u1"), "to u1").await;
    let (id, cursor) = socket.told().await;
    assert_eq!(id, "to u1");
    assert_ne!(before, cursor);
}

#[tokio::test]
async fn what_is_no_notification_is_passed_over() {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    for junk in ["", "{}", "\u{0}"] {
        world.log.append(feedkit_core::Partition(0), super::world::NOW, None, junk.into());
    }
    world.log.skip(feedkit_core::Partition(0), 3);
    world.tell(user("u1"), "n1").await;
    assert_eq!(socket.told().await.0, "n1");
}
