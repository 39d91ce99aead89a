//! `POST /api/events`: each status, each header.

use feedkit_core::{EventId, Position, Timestamp};

use super::world::{NOW, World, like, post, until};

const EVENTS: &str = "/api/events";

#[tokio::test]
async fn an_event_is_accepted_once_it_is_in_the_log() {
    let world = World::new();
    let gateway = world.start().await;
    let answer = gateway.post(EVENTS, "token-u1", "", like("u1", "p9")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-request-id").map(str::len), Some(22));
    assert_eq!(answer.header("ratelimit-limit"), None);

    let id: EventId = answer.json()["id"].as_str().unwrap().parse().unwrap();
    let position: Position = answer.json()["position"].as_str().unwrap().parse().unwrap();
    assert_eq!((id.time(), position.offset), (NOW, 1));
    assert_eq!(position.partition, world.log.partition_of(b"u1"));
    let record = world.log.records(position.partition).remove(0);
    assert_eq!(record.key.as_deref(), Some(&b"u1"[..]));
    let value = &world.values()[0];
    let now = NOW.to_string();
    let expected = serde_json::json!({
        "id": id, "userId": "u1", "postId": "p9", "type": "like", "timestamp": now, "receivedAt": now,
    });
    assert_eq!(*value, expected);
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_client_tells_is_kept_but_for_when_it_was_received() {
    let world = World::new();
    let gateway = world.start().await;
    let id = EventId::derived(Timestamp::from_millis(NOW.as_millis() - 5000), 7);
    let body = format!(
        r#"{{"id":"{id}","userId":"u1","postId":"p9","type":"comment","text":"a \"b\" é\n",
            "timestamp":"2026-01-02T03:04:05+01:00","receivedAt":"2001-01-01T00:00:00Z","attributes":{{"via":"web"}}}}"#
    );
    let more = "Content-Type: application/json; charset=UTF-8\r\nX-Request-Id: given.by-a:proxy/1\r\n";
    let answer = gateway.post(EVENTS, "token-u1", more, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("x-request-id"), Some("given.by-a:proxy/1"));
    let expected = serde_json::json!({
        "id": id, "userId": "u1", "postId": "p9", "type": "comment", "text": "a \"b\" é\n",
        "timestamp": "2026-01-02T02:04:05Z", "receivedAt": NOW.to_string(), "attributes": {"via": "web"},
    });
    assert_eq!(world.values(), [expected]);

    // A retry: accepted, the same id.
    let again = gateway.post(EVENTS, "token-u1", "", &body).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &answer.json()["id"]));
    gateway.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_becomes_the_events_id() {
    let world = World::new();
    let gateway = world.start().await;
    let key = EventId::derived(NOW, 7);
    for quote in ["", "\""] {
        let more = format!("Idempotency-Key: {quote}{key}{quote}\r\n");
        let answer = gateway.post(EVENTS, "token-u1", &more, like("u1", "p9")).await;
        assert_eq!((answer.status, answer.json()["id"].clone()), (202, serde_json::json!(key)));
    }
    let more = format!("Idempotency-Key: {}\r\n", EventId::derived(NOW, 8));
    let body = format!(r#"{{"id":"{key}","userId":"u1","postId":"p9","type":"like"}}"#);
    let answer = gateway.post(EVENTS, "token-u1", &more, body).await;
    assert_eq!(answer.problem(422, "invalid").as_deref(), Some("id"));
    let answer = gateway.post(EVENTS, "token-u1", "Idempotency-Key: once\r\n", like("u1", "p9")).await;
    assert_eq!(answer.problem(422, "invalid").as_deref(), Some("Idempotency-Key"));
    assert_eq!(world.values().len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn without_a_token_that_is_to_be_believed_nothing_is_taken() {
    let world = World::new();
    let gateway = world.start().await;
    for authorization in [
        "",
        "Authorization: Bearer token-unknown\r\n",
        "Authorization: Bearer token-old\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Basic dTE6cHc=\r\n",
        "Authorization: token-u1\r\n",
    ] {
        let body = like("u1", "p9");
        let head = "POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let request = format!("{head}{authorization}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = gateway.ask(request).await;
        assert_eq!(answer.problem(401, "unauthenticated"), None, "{authorization}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.text().contains("token-unknown"), "{answer:?}");
    }
    // The scheme's case does not matter.
    let body = like("u1", "p9");
    let request = String::from_utf8(post(EVENTS, "token-u1", "", &body)).unwrap().replace("Bearer", "bearer");
    assert_eq!(gateway.ask(request).await.status, 202);
    assert_eq!(world.values().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn nobody_writes_in_anothers_name_unless_allowed() {
    let world = World::new();
    let gateway = world.start().await;
    let answer = gateway.post(EVENTS, "token-u1", "", like("u2", "p9")).await;
    assert_eq!(answer.problem(403, "forbidden").as_deref(), Some("userId"));
    assert_eq!(world.values().len(), 0);
    assert_eq!(gateway.post(EVENTS, "token-any", "", like("u2", "p9")).await.status, 202);
    assert_eq!(world.values()[0]["userId"], "u2");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let world = World::new();
    let gateway = world.start().await;
    for body in [&b""[..], b"{", b"[]", b"null", b"{\"userId\":\"u1\"}x", b"\xff", b"{\"userId\":\"u\xff\"}"]
    {
        let answer = gateway.post(EVENTS, "token-u1", "", body).await;
        assert_eq!(answer.problem(400, "malformed"), None, "{body:?}");
    }
    for (body, field) in [
        (r#"{"postId":"p","type":"like"}"#, "userId"),
        (r#"{"userId":5,"postId":"p","type":"like"}"#, "userId"),
        (r#"{"userId":"u1","postId":"a/b","type":"like"}"#, "postId"),
        (r#"{"userId":"u1","postId":"p","type":"share"}"#, "type"),
        (r#"{"userId":"u1","postId":"p","type":"like","text":"x"}"#, "text"),
        (r#"{"userId":"u1","postId":"p","type":"post","text":"\u0000"}"#, "text"),
        (r#"{"userId":"u1","postId":"p","type":"like","id":"b6ec4f4c-0c9e-4b6c-9c5c-0d8b8f0f9b5e"}"#, "id"),
        (r#"{"userId":"u1","postId":"p","type":"like","timestamp":"2100-01-01T00:00:00Z"}"#, "timestamp"),
        (r#"{"userId":"u1","postId":"p","type":"like","postID":"p"}"#, "postID"),
        (r#"{"userId":"u1","postId":"p","type":"like","attributes":{"a":1}}"#, "attributes"),
    ] {
        let answer = gateway.post(EVENTS, "token-u1", "", body).await;
        assert_eq!(answer.problem(422, "invalid").as_deref(), Some(field), "{body}");
    }
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
    {
        let more = format!("Content-Type: {content_type}\r\n");
        let answer = gateway.post(EVENTS, "token-u1", &more, like("u1", "p9")).await;
        answer.problem(415, "unsupported-media-type");
    }
    assert_eq!(world.values().len(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_log_that_does_not_acknowledge_is_a_reason_to_come_back() {
    let mut world = World::new();
    world.base.options.answer_timeout = std::time::Duration::from_millis(50);
    let gateway = world.start().await;
    for moody in ["p-retriable", "p-uncertain", "p-fatal", "p-wait"] {
        let answer = gateway.post(EVENTS, "token-u1", "", like("u1", moody)).await;
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"), "{moody}");
        // An event that came without an id was given one, for the retry.
        let id = answer.json()["detail"].as_str().unwrap().rsplit(' ').next().unwrap().parse::<EventId>();
        assert_eq!(id.unwrap().time(), NOW);
    }
    gateway.post(EVENTS, "token-u1", "", like("u1", "p-invalid")).await.problem(422, "invalid");
    assert_eq!(gateway.post(EVENTS, "token-u1", "", like("u1", "p9")).await.status, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn beyond_what_may_wait_for_the_log_others_are_sent_away_at_once() {
    let mut world = World::new();
    (world.base.options.max_in_flight, world.base.options.max_batch_events) = (2, 2);
    world.base.options.answer_timeout = super::world::PATIENCE;
    let gateway = world.start().await;
    let mut waiting = [gateway.client().await, gateway.client().await];
    for client in &mut waiting {
        client.write(post(EVENTS, "token-u1", "", like("u1", "p-wait"))).await;
    }
    until(|| world.sink.calls().len() == 2).await;
    let answer = gateway.post(EVENTS, "token-u2", "", like("u2", "p9")).await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let batch = format!("[{}]", like("u2", "p9"));
    gateway.post("/api/events/batch", "token-u2", "", batch).await.problem(503, "unavailable");
    assert!(gateway.get("/metrics").await.text().contains("feedkit_gateway_events_in_flight 2"));

    world.sink.open.send_replace(true);
    for client in &mut waiting {
        assert_eq!(client.answer().await.status, 202);
    }
    assert_eq!(gateway.post(EVENTS, "token-u2", "", like("u2", "p9")).await.status, 202);
    assert!(gateway.get("/metrics").await.text().contains("feedkit_gateway_events_in_flight 0"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_place_taken() {
    let mut world = World::new();
    (world.base.options.max_in_flight, world.base.options.max_batch_events) = (1, 1);
    world.base.options.answer_timeout = super::world::PATIENCE;
    let gateway = world.start().await;
    let mut gone = gateway.client().await;
    gone.write(post(EVENTS, "token-u1", "", like("u1", "p-wait"))).await;
    until(|| world.sink.calls().len() == 1).await;
    drop(gone);
    super::world::within(async {
        while gateway.post(EVENTS, "token-u2", "", like("u2", "p9")).await.status != 202 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_panic_is_one_requests_problem() {
    let world = World::new();
    let gateway = world.start().await;
    let mut client = gateway.client().await;
    client.write(post(EVENTS, "token-u1", "", like("u1", "p-panic"))).await;
    let answer = client.answer().await;
    answer.problem(500, "internal");
    assert!(!answer.text().contains("a test's panic"));
    // The same connection goes on.
    client.write(post(EVENTS, "token-u1", "", like("u1", "p9"))).await;
    assert_eq!(client.answer().await.status, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_problems_too() {
    let world = World::new();
    let gateway = world.start().await;
    for path in ["/api", "/api/events/", "/api/events/batch/x", "//api/events", "/health"] {
        gateway.get(path).await.problem(404, "not-found");
    }
    for (method, path, allow) in [
        ("GET", "/api/events", "POST"),
        ("PUT", "/api/events/batch", "POST"),
        ("POST", "/health/live", "GET, HEAD"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let answer = gateway.ask(request).await;
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_id_that_is_not_fit_for_a_log_is_replaced() {
    let world = World::new();
    let gateway = world.start().await;
    for bad in ["a b", "a\"b", &"x".repeat(65)] {
        let request = format!("GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: {bad}\r\n\r\n");
        let answer = gateway.ask(request).await;
        assert_eq!(answer.header("x-request-id").map(str::len), Some(22), "{bad}");
    }
    gateway.stop().await;
}
