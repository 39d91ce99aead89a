//! Who is told what, from a like to a socket.

use feedkit_test_programs::told::{self, likes, mark, publish, send};
use feedkit_test_programs::{Client, Served, Socket, eventually};
#[cfg(feature = "failpoints")]
use {feedkit_test_programs::JSON, serde_json::json};

use crate::program::Place;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_likes_are_told_to_the_author_alone_and_once() {
    let place = Place::new();
    let server = Server::of(&place);
    told::a_hundred_likes_are_told_to_the_author_alone_and_once(&server).await;
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
    told::a_like_farm_is_told_to_moderators_alone(&server).await;
    server.stop();
}
