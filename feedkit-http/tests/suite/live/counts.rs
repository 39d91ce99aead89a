//! Counts of posts, as they are and as they change.

use serde_json::{Value, json};

use super::socket::Socket;
use super::world::{World, until};

async fn listener(served: &super::world::Served, channels: &[&str]) -> Socket {
    let mut socket = served.socket("u1").await;
    socket.hears_counts = true;
    socket.subscribe(channels, None).await;
    socket
}

async fn counts(socket: &mut Socket) -> (String, Value) {
    let mut frame = socket.hear_kind("counts").await;
    (frame["postId"].as_str().unwrap().to_owned(), frame["counts"].take())
}

#[tokio::test]
async fn a_posts_counts_come_at_once_and_when_they_change() {
    let world = World::new();
    world.like("p2", 5).await;
    let served = world.serve(|_| {}).await;
    let mut socket = listener(&served, &["post:p1"]).await;
    assert_eq!(counts(&mut socket).await, ("p1".into(), json!({})));
    world.like("p1", 1).await;
    assert_eq!(counts(&mut socket).await, ("p1".into(), json!({"like": 1})));
    let mut second = listener(&served, &["post:p1"]).await;
    assert_eq!(counts(&mut second).await, ("p1".into(), json!({"like": 1})), "known already");
    socket.subscribe(&["post:p2"], None).await;
    assert_eq!(counts(&mut socket).await, ("p2".into(), json!({"like": 5})));
    world.like("p2", -1).await;
    assert_eq!(counts(&mut socket).await, ("p2".into(), json!({"like": 4})));
    world.like("p1", 1).await;
    for socket in [&mut socket, &mut second] {
        assert_eq!(counts(socket).await, ("p1".into(), json!({"like": 2})));
    }
}

#[tokio::test]
async fn many_changes_make_one_frame() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut socket = listener(&served, &["post:p1"]).await;
    counts(&mut socket).await;
    // On one thread no round falls in between.
    for _ in 0..1000 {
        world.like("p1", 1).await;
    }
    assert_eq!(counts(&mut socket).await, ("p1".into(), json!({"like": 1000})));
}

#[tokio::test]
async fn after_all_have_left_the_next_is_told_the_present() {
    let world = World::new();
    let served = world.serve(|options| options.live.counts_every = std::time::Duration::from_millis(1)).await;
    let mut socket = listener(&served, &["post:p1", "top"]).await;
    assert_eq!(counts(&mut socket).await.1, json!({}));
    drop(socket);
    until("it is gone", || served.metric("feedkit_live_clients", "websocket") == 0.0).await;
    world.like("p1", 3).await;
    let mut socket = listener(&served, &["post:p1"]).await;
    assert_eq!(counts(&mut socket).await.1, json!({"like": 3}), "not what was known before");
}

#[tokio::test]
async fn the_top_ten_are_told_and_who_enters_it() {
    let world = World::new();
    for i in 1..=12 {
        world.like(&format!("p{i:02}"), i).await;
    }
    let served = world.serve(|_| {}).await;
    let mut socket = listener(&served, &["top"]).await;
    let mut heard = std::collections::BTreeMap::new();
    for _ in 0..10 {
        heard.extend([counts(&mut socket).await]);
    }
    let expected = (3..=12).map(|i| (format!("p{i:02}"), json!({"like": i}))).collect();
    assert_eq!(heard, expected);
    let mut second = listener(&served, &["top"]).await;
    for _ in 0..10 {
        counts(&mut second).await;
    }
    // Below the top ten: nobody is told.
    world.like("p01", 1).await;
    world.like("p02", 8).await;
    for socket in [&mut socket, &mut second] {
        assert_eq!(counts(socket).await, ("p02".into(), json!({"like": 10})));
    }
}

#[tokio::test]
async fn counts_are_no_notifications() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut socket = listener(&served, &["me"]).await;
    world.like("p1", 1).await;
    let before = socket.ping().await;
    let mut other = listener(&served, &["post:p1"]).await;
    counts(&mut other).await;
    assert_eq!(socket.ping().await, before, "the cursor stands where it stood, and no counts came");
}
