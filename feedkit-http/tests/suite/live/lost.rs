//! The notifications' log breaks, or is not what it was.

use std::sync::atomic::Ordering;

use feedkit_core::Partition;
use feedkit_core::health::Condition;

use super::world::{World, until, user};

#[tokio::test]
async fn a_log_that_cannot_be_read_is_named_and_read_when_it_is_back() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    until("it reads", || served.gateway.component().condition == Condition::Up).await;
    served.stop().await;

    let served = world.serve(|options| options.answer_timeout = std::time::Duration::from_millis(50)).await;
    served.tap.broken.store(true, Ordering::SeqCst);
    until("it says so", || {
        let component = served.gateway.component();
        component.condition == Condition::Degraded && component.detail.unwrap().contains("the broker is away")
    })
    .await;
    let mut socket = served.socket("u1").await;
    socket.say(serde_json::json!({"type": "subscribe", "channels": ["me"]})).await;
    assert_eq!(socket.closed().await, 1012);
    served.tap.broken.store(false, Ordering::SeqCst);
    until("it reads again", || served.gateway.component().condition == Condition::Up).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    world.tell(user("u1"), "n1").await;
    assert_eq!(socket.told().await.0, "n1");
}

/// Nothing is written meanwhile that would show that the log can be read.
#[tokio::test]
async fn a_quiet_log_that_can_be_read_again_is_found_well() {
    let served = World::new().serve(|_| {}).await;
    until("it reads", || served.gateway.component().condition == Condition::Up).await;
    served.tap.stumble.notify_one();
    until("it says so", || served.gateway.component().condition == Condition::Degraded).await;
    until("it is well", || served.gateway.component().condition == Condition::Up).await;
}

#[tokio::test]
async fn clients_come_back_when_the_log_was_made_anew() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    world.tell(user("u1"), "before").await;
    let (_, cursor) = socket.told().await;
    world.log.recreate();
    world.tell(user("u1"), "first of the new log").await;
    assert_eq!(socket.closed().await, 1012);
    let mut socket = served.socket("u1").await;
    assert_eq!(socket.subscribe(&["me"], Some(&cursor)).await["recovered"], false);
    let cursor = socket.ping().await.unwrap();
    world.tell(user("u1"), "second").await;
    assert!(socket.ids(1).await[0] != "before");
    let mut socket = served.socket("u1").await;
    assert_eq!(socket.subscribe(&["me"], Some(&cursor)).await["recovered"], true);
}

#[tokio::test]
async fn clients_come_back_when_notifications_expired_unread() {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut socket = served.socket("u1").await;
    let cursor = socket.subscribe(&["me"], None).await["cursor"].as_str().unwrap().to_owned();
    world.tell(user("u1"), "n1").await;
    assert_eq!(socket.told().await.0, "n1");
    // One batch may be in the reader's hands; what comes behind it is lost.
    served.tap.hold(true);
    world.tell(user("u1"), "n2").await;
    tokio::task::yield_now().await;
    world.publish((3..100).map(|i| (user("u1"), format!("n{i}")))).await;
    world.log.expire_before(Partition(0), 90);
    served.tap.release();
    assert_eq!(socket.closed().await, 1012);
    let mut socket = served.socket("u1").await;
    assert_eq!(socket.subscribe(&["me"], Some(&cursor)).await["recovered"], false);
    world.tell(user("u1"), "after").await;
    while socket.told().await.0 != "after" {}
}
