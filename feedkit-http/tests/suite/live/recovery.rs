//! Coming back with a cursor.

use std::sync::atomic::Ordering;

use feedkit_core::Partition;
use feedkit_http::GatewayOptions;

use super::socket::Socket;
use super::world::{Served, World, post, until, user};

/// Hears one notification on `me` and leaves; the cursor.
async fn hear_one_and_leave(world: &World, served: &Served) -> String {
    let mut socket = served.socket("u1").await;
    let subscribed = socket.subscribe(&["me", "post:p1"], None).await;
    assert_eq!(subscribed["recovered"], false);
    world.tell(user("u1"), "heard").await;
    let (id, cursor) = socket.told().await;
    assert_eq!(id, "heard");
    cursor
}

async fn tell_many(world: &World, ids: std::ops::Range<usize>) {
    for i in ids {
        world.tell(user("u1"), &format!("n{i}")).await;
        world.tell(user("u2"), &format!("other {i}")).await;
    }
}

fn numbered(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|i| format!("n{i}")).collect()
}

async fn come_back(served: &Served, cursor: &str, recovered: bool) -> Socket {
    let mut socket = served.socket("u1").await;
    let subscribed = socket.subscribe(&["me", "post:p1"], Some(cursor)).await;
    assert_eq!(subscribed["recovered"], recovered);
    socket
}

/// The missed notifications come first, then the live ones, each once.
async fn hears_all(world: &World, socket: &mut Socket, missed: std::ops::Range<usize>) {
    let end = missed.end;
    assert_eq!(socket.ids(missed.len()).await, numbered(missed));
    tell_many(world, end..end + 3).await;
    assert_eq!(socket.ids(3).await, numbered(end..end + 3));
}

fn no_tail(options: &mut GatewayOptions) {
    options.live.tail = 0;
}

#[tokio::test]
async fn what_was_missed_comes_from_memory() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let cursor = hear_one_and_leave(&world, &served).await;
    tell_many(&world, 0..20).await;
    let opened = served.tap.opened.load(Ordering::SeqCst);
    let mut socket = come_back(&served, &cursor, true).await;
    hears_all(&world, &mut socket, 0..20).await;
    assert_eq!(served.tap.opened.load(Ordering::SeqCst), opened);
    assert_eq!(served.metric("feedkit_live_recoveries_total", "tail"), 1.0);
}

#[tokio::test]
async fn what_memory_does_not_hold_comes_from_the_log() {
    let world = World::new();
    let served = world.serve(|options| options.live.tail = 4).await;
    let cursor = hear_one_and_leave(&world, &served).await;
    tell_many(&world, 0..20).await;
    let mut socket = come_back(&served, &cursor, true).await;
    hears_all(&world, &mut socket, 0..20).await;
    assert_eq!(served.metric("feedkit_live_recoveries_total", "log"), 1.0);
}

#[tokio::test]
async fn cursors_outlive_the_gateway() {
    let world = World::new();
    for configure in [(|_| {}) as fn(&mut GatewayOptions), no_tail, |options| options.live.tail = 12] {
        let served = world.serve(configure).await;
        let mut socket = served.socket("u1").await;
        let cursor = socket.subscribe(&["me", "post:p1"], None).await["cursor"].as_str().unwrap().to_owned();
        let start = world.log.ends().total() as usize;
        served.stop().await;
        tell_many(&world, start..start + 20).await;
        let served = world.serve(configure).await;
        let mut socket = come_back(&served, &cursor, true).await;
        hears_all(&world, &mut socket, start..start + 20).await;
        served.stop().await;
    }
}

#[tokio::test]
async fn memory_is_filled_at_the_start_also_when_the_log_begins_late() {
    let world = World::new();
    tell_many(&world, 0..50).await;
    for partition in 0..3 {
        let end = world.log.ends().of(Partition(partition));
        world.log.expire_before(Partition(partition), end / 2);
    }
    let first = world.serve(|_| {}).await;
    let cursor = hear_one_and_leave(&world, &first).await;
    tell_many(&world, 50..60).await;
    let served = world.serve(|_| {}).await;
    let mut socket = come_back(&served, &cursor, true).await;
    hears_all(&world, &mut socket, 50..60).await;
    assert_eq!(served.metric("feedkit_live_recoveries_total", "tail"), 1.0);
}

#[tokio::test]
async fn a_gateway_that_is_behind_catches_up_first() {
    let world = World::new();
    let (ahead, behind) = (world.serve(|_| {}).await, world.serve(|_| {}).await);
    // Both have begun to read.
    drop(come_back(&behind, &hear_one_and_leave(&world, &ahead).await, true).await);
    behind.tap.hold(true);
    tell_many(&world, 0..10).await;
    let mut socket = ahead.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    tell_many(&world, 10..11).await;
    let (_, cursor) = socket.told().await;
    let mut socket = behind.socket("u1").await;
    socket.say(serde_json::json!({"type": "subscribe", "channels": ["me"], "cursor": cursor})).await;
    tell_many(&world, 11..12).await;
    behind.tap.release();
    assert_eq!(socket.hear_kind("subscribed").await["recovered"], true);
    assert_eq!(socket.told().await.0, "n11", "nothing from before the cursor");
}

#[tokio::test]
async fn channels_that_are_live_already_miss_nothing_while_the_log_is_read() {
    let world = World::with_partitions(1);
    let served = world.serve(|options| options.live.tail = 4).await;
    let cursor = hear_one_and_leave(&world, &served).await;
    for i in 0..8 {
        world.tell(post("p1"), &format!("p{i}")).await;
    }
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    let opened = served.tap.opened.load(Ordering::SeqCst);
    served.tap.hold(false);
    socket.say(serde_json::json!({"type": "subscribe", "channels": ["post:p1"], "cursor": cursor})).await;
    until("the log is read", || served.tap.opened.load(Ordering::SeqCst) > opened).await;
    world.tell(user("u1"), "meanwhile").await;
    world.tell(post("p1"), "p8").await;
    served.tap.release();
    assert_eq!(socket.hear_kind("subscribed").await["recovered"], true);
    world.tell(user("u1"), "after").await;
    let expected = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "meanwhile", "p8", "after"];
    assert_eq!(socket.ids(expected.len()).await, expected);
}

#[tokio::test]
async fn equal_recoveries_read_the_log_once() {
    let world = World::new();
    let served = world.serve(|options| options.live.tail = 0).await;
    let cursor = hear_one_and_leave(&world, &served).await;
    tell_many(&world, 0..5).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(served.socket("u1").await);
    }
    let opened = served.tap.opened.load(Ordering::SeqCst);
    served.tap.hold(false);
    for socket in &mut sockets {
        socket.say(serde_json::json!({"type": "subscribe", "channels": ["me"], "cursor": cursor})).await;
    }
    until("the log is read", || served.tap.opened.load(Ordering::SeqCst) > opened).await;
    served.tap.release();
    for socket in &mut sockets {
        assert_eq!(socket.hear_kind("subscribed").await["recovered"], true);
        assert_eq!(socket.ids(5).await, numbered(0..5));
    }
}

#[tokio::test]
async fn what_cannot_be_recovered_is_said() {
    let world = World::new();
    let served = world
        .serve(|options| {
            options.live.tail = 0;
            options.live.max_recovery = 5;
        })
        .await;
    let cursor = hear_one_and_leave(&world, &served).await;
    tell_many(&world, 0..5).await;
    drop(come_back(&served, &cursor, true).await);
    // One more than is recovered.
    tell_many(&world, 5..6).await;
    let mut socket = come_back(&served, &cursor, false).await;
    tell_many(&world, 6..7).await;
    assert_eq!(socket.ids(1).await, ["n6"], "it is live all the same");
    // What is no cursor.
    for cursor in ["", "AAAA", "no cursor!"] {
        let frame = serde_json::json!({"type": "subscribe", "channels": ["me"], "cursor": cursor});
        socket.send(tokio_tungstenite::tungstenite::Message::Text(frame.to_string().into())).await;
        assert_eq!(socket.hear_kind("subscribed").await["recovered"], false);
    }
    // Expired.
    let cursor = socket.ping().await.unwrap();
    tell_many(&world, 7..8).await;
    socket.ids(1).await;
    drop(come_back(&served, &cursor, true).await);
    for (partition, end) in world.log.ends().iter() {
        world.log.expire_before(partition, end);
    }
    drop(come_back(&served, &cursor, false).await);
    assert!(served.metric("feedkit_live_recoveries_total", "failed") >= 5.0);
}

#[tokio::test]
async fn pongs_keep_a_silent_clients_cursor_young() {
    let world = World::new();
    let served = world
        .serve(|options| {
            options.live.tail = 0;
            options.live.max_recovery = 1;
        })
        .await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    let mut marker = served.socket("u2").await;
    marker.subscribe(&["me"], None).await;
    // Far more than a recovery reads over.
    let many = (0..150).map(|i| (user("u2"), format!("other {i}")));
    world.publish(many).await;
    marker.ids(150).await;
    let cursor = socket.ping().await.unwrap();
    drop(socket);
    drop(come_back(&served, &cursor, true).await);
}
