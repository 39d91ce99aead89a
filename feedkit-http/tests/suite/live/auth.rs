//! Who may open a socket, and for how long.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use super::world::{MINUTE, World, user};

#[tokio::test]
async fn the_first_frame_says_who_is_there() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut socket = Socket::open(served.address).await;
    socket.say(json!({"type": "auth", "token": "u1"})).await;
    let ready = socket.hear().await;
    assert_eq!(ready, json!({"type": "ready", "userId": "u1", "expiresAt": "2025-01-02T00:00:00Z"}));
    assert_eq!(socket.ping().await, None, "nothing is listened to: no cursor");
}

#[tokio::test]
async fn the_token_may_come_as_a_second_protocol() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let offer = |value| [("sec-websocket-protocol", value)];
    let (mut socket, protocol) =
        Socket::open_with(served.address, &offer("feedkit.v1, u1")).await.ok().unwrap();
    assert_eq!(protocol.as_deref(), Some("feedkit.v1"), "never the token");
    assert_eq!(socket.hear().await["userId"], "u1");
    let (mut socket, _) = Socket::open_with(served.address, &offer("feedkit.v1, nobody")).await.ok().unwrap();
    assert_eq!(socket.closed().await, 4001);
    let (mut socket, protocol) = Socket::open_with(served.address, &offer("feedkit.v1")).await.ok().unwrap();
    assert_eq!(protocol.as_deref(), Some("feedkit.v1"));
    socket.say(json!({"type": "auth", "token": "u1"})).await;
    assert_eq!(socket.hear().await["type"], "ready");
}

#[tokio::test]
async fn whoever_is_not_believed_is_sent_away() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    for first in [
        r#"{"type":"auth","token":"nobody"}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"subscribe","channels":["me"]}"#,
        "nonsense",
    ] {
        let mut socket = Socket::open(served.address).await;
        socket.send(Message::Text(first.into())).await;
        assert_eq!(socket.closed().await, 4001, "{first}");
    }
}

#[tokio::test]
async fn whoever_says_nothing_is_sent_away() {
    let world = World::new();
    let served = world.serve(|options| options.live.auth_timeout = Duration::from_millis(50)).await;
    assert_eq!(Socket::open(served.address).await.closed().await, 4001);
}

#[tokio::test]
async fn a_token_that_runs_out_ends_the_socket_unless_it_was_renewed() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut renewed = served.socket("short").await;
    renewed.subscribe(&["me"], None).await;
    let mut socket = served.socket("short").await;
    socket.subscribe(&["me"], None).await;
    renewed.say(json!({"type": "auth", "token": "longer"})).await;
    assert_eq!(renewed.hear().await["expiresAt"], "2025-01-01T00:02:00Z");
    // The socket sleeps until then by the machine's clock, so the tests' clock has to be past it
    // when it looks.
    world.clock.advance(MINUTE - Duration::from_millis(50));
    socket.ping().await;
    renewed.ping().await;
    world.clock.advance(Duration::from_millis(50));
    assert_eq!(socket.closed().await, 4002);
    world.tell(user("u1"), "after").await;
    assert_eq!(renewed.told().await.0, "after", "what it listened to, it listens to still");
    world.clock.advance(MINUTE);
    renewed.say(json!({"type": "ping"})).await;
    assert_eq!(renewed.closed().await, 4002);
}

#[tokio::test]
async fn a_new_token_has_to_be_the_same_users() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    for (token, code) in [("u2", 4003), ("nobody", 4001)] {
        let mut socket = served.socket("u1").await;
        socket.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(socket.closed().await, code, "{token}");
    }
}

#[tokio::test]
async fn channels_that_a_new_token_does_not_allow_are_left() {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut socket = served.socket("mod").await;
    socket.subscribe(&["me", "role:moderator"], None).await;
    socket.say(json!({"type": "auth", "token": "demoted"})).await;
    socket.hear_kind("ready").await;
    let error = socket.hear_kind("error").await;
    assert_eq!(error["code"], "forbidden");
    world.tell(super::world::role("moderator"), "secret").await;
    world.tell(user("m1"), "own").await;
    assert_eq!(socket.told().await.0, "own");
}

#[tokio::test]
async fn only_pages_of_known_origins_may_open_sockets() {
    let world = World::new();
    let served = world
        .serve(|options| {
            options.origins.insert("https://app.example".to_owned());
        })
        .await;
    let own = format!("http://{}", served.address);
    for origin in [&*own, "https://app.example"] {
        assert!(Socket::open_with(served.address, &[("origin", origin)]).await.is_ok(), "{origin}");
    }
    for origin in ["https://evil.example", "null", "http://127.0.0.1"] {
        let refused = Socket::open_with(served.address, &[("origin", origin)]).await;
        assert_eq!(refused.err(), Some(403), "{origin}");
    }
}
