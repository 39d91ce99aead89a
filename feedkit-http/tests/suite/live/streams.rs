//! Server-sent events.

use std::time::Duration;

use feedkit_core::notification::Audience;
use serde_json::json;

use super::events::Stream;
use super::world::{MINUTE, World, post, until, user};

#[tokio::test]
async fn what_is_wrong_is_answered_before_the_stream_begins() {
    let world = World::new();
    let served = world
        .serve(|options| {
            options.live.max_channels = 2;
            options.live.max_clients_of_user = 1;
            options.live.max_clients = 2;
        })
        .await;
    assert_eq!(Stream::get(served.address, "?channels=me", &[]).await.status, 401);
    for (query, status) in [
        ("", 422),
        ("?channels=", 422),
        ("?channels=me,nonsense", 422),
        ("?channels=post:a%2Fb", 422),
        ("?channels=me,top,post:p1", 422),
        ("?channels=role:moderator", 403),
    ] {
        let answer = Stream::open(served.address, "u1", query, None).await;
        assert_eq!(answer.status, status, "{query}");
        let problem = answer.problem().await;
        assert_eq!((&problem["status"], &problem["field"]), (&json!(status), &json!("channels")), "{query}");
    }
    let first = Stream::open(served.address, "u1", "?channels=me", None).await;
    assert_eq!(first.status, 200);
    let again = Stream::open(served.address, "u1", "?channels=me", None).await;
    assert_eq!((again.status, again.headers.contains_key("retry-after")), (429, true));
    let second = Stream::open(served.address, "u2", "?channels=me", None).await;
    assert_eq!(second.status, 200);
    assert_eq!(Stream::open(served.address, "u3", "?channels=me", None).await.status, 503);
    drop(first);
    until("it is gone", || served.metric("feedkit_live_clients", "sse") == 1.0).await;
    assert_eq!(Stream::open(served.address, "u1", "?channels=me", None).await.status, 200);
    drop(second);
}

#[tokio::test]
async fn a_stream_tells_what_a_socket_does() {
    let world = World::with_partitions(1);
    world.like("p1", 3).await;
    let served = world.serve(|_| {}).await;
    let mut stream = Stream::open(served.address, "u1", "?channels=me,post:p1", None).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    let subscribed = stream.hear("subscribed").await;
    assert_eq!(subscribed.data["channels"], json!(["me", "post:p1"]));
    assert_eq!(subscribed.data["recovered"], false);
    assert_eq!(stream.hear("counts").await.data["counts"], json!({"like": 3}));
    for (audience, id) in
        [(user("u2"), "not this"), (user("u1"), "a"), (post("p1"), "b"), (Audience::All, "c")]
    {
        world.tell(audience, id).await;
    }
    let mut last = None;
    for id in ["a", "b", "c"] {
        let event = stream.hear("notification").await;
        assert_eq!(event.data["notification"]["id"], id);
        last = event.id;
    }
    // Back with the last event's id, or the same in the query.
    drop(stream);
    world.tell(user("u1"), "missed").await;
    let cursor = last.unwrap();
    let by_query = format!("?channels=me&cursor={cursor}");
    for (query, header) in [("?channels=me", Some(&*cursor)), (&*by_query, None)] {
        let mut stream = Stream::open(served.address, "u1", query, header).await;
        assert_eq!(stream.hear("subscribed").await.data["recovered"], true);
        assert_eq!(stream.hear("notification").await.data["notification"]["id"], "missed");
    }
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_and_its_cursor_young() {
    let world = World::with_partitions(1);
    let served = world.serve(|options| options.live.ping_every = Duration::from_millis(50)).await;
    let mut stream = Stream::open(served.address, "u1", "?channels=me", None).await;
    let first = stream.hear("subscribed").await.id.unwrap();
    world.tell(user("u2"), "for another").await;
    loop {
        let comment = stream.any().await.unwrap();
        assert_eq!(comment.name, "");
        if comment.id.unwrap() != first {
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    world.clock.advance(MINUTE - Duration::from_millis(50));
    let mut stream = Stream::open(served.address, "short", "?channels=me", None).await;
    stream.hear("subscribed").await;
    world.clock.advance(Duration::from_millis(50));
    assert_eq!(stream.hear("error").await.data["code"], "token-expired");
    assert!(stream.event().await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_too_slow_ends() {
    let world = World::with_partitions(1);
    let served = world.serve(|options| options.live.window_bytes = 2000).await;
    let mut stream = Stream::open(served.address, "u1", "?channels=me", None).await;
    stream.hear("subscribed").await;
    world.publish((0..50).map(|i| (user("u1"), format!("n{i}")))).await;
    let last = loop {
        let event = stream.event().await.unwrap();
        if event.name != "notification" {
            break event;
        }
    };
    assert_eq!((&*last.name, &last.data["code"]), ("error", &json!("too-slow")));
    assert!(stream.event().await.is_none());
}

#[tokio::test]
async fn streams_are_told_that_the_gateway_stops() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut stream = Stream::open(served.address, "u1", "?channels=me", None).await;
    stream.hear("subscribed").await;
    let ended = async {
        stream.hear("closing").await;
        stream.event().await.is_none()
    };
    let (gone, ()) = tokio::join!(ended, served.stop());
    assert!(gone);
}
