//! `POST /api/events/batch`: an outcome for each item, in order.

use feedkit_core::EventId;

use super::client::Answer;
use super::world::{NOW, World, like};

const BATCH: &str = "/api/events/batch";
const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

fn statuses(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    json["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_item_has_its_outcome_in_order() {
    let world = World::new();
    let gateway = world.start().await;
    let id = EventId::derived(NOW, 7);
    let items = [
        like("u1", "p1"),
        "7".into(),
        r#"{"userId":"u1","postId":"p1","type":"lick"}"#.into(),
        like("u2", "p1"),
        like("u1", "p-retriable"),
        like("u1", "p-invalid"),
        format!(r#"{{"id":"{id}","userId":"u1","postId":"p2","type":"like"}}"#),
    ];
    let expected = ["accepted", "invalid", "invalid", "invalid", "retry", "invalid", "accepted"];
    let array = format!("[{}]", items.join(","));
    let lines = format!("\n{}\r\n\n", items.join("\r\n"));
    for (more, body) in [("", array), (NDJSON, lines)] {
        let before = world.values().len();
        let answer = gateway.post(BATCH, "token-u1", more, body).await;
        assert_eq!(
            (answer.status, statuses(&answer)),
            (200, expected.map(str::to_owned).to_vec()),
            "{answer:?}"
        );
        let json = answer.json();
        assert_eq!(json["accepted"], 2);
        let problem = |at: usize| json["results"][at]["problem"].clone();
        assert_eq!(problem(1)["type"], "urn:feedkit:problem:malformed");
        assert_eq!((&problem(2)["status"], &problem(2)["field"]), (&422.into(), &"type".into()));
        assert_eq!((&problem(3)["status"], &problem(3)["field"]), (&403.into(), &"userId".into()));
        assert_eq!(problem(4)["status"], 503);
        assert_eq!(problem(5)["status"], 422);
        assert!(!answer.text().contains("secret"));
        assert_eq!(json["results"][6]["id"], serde_json::json!(id));
        assert!(json["results"][0]["position"].as_str().unwrap().contains(':'));
        let values = world.values();
        assert_eq!(values.len() - before, 2);
        assert!(values.iter().any(|v| v["id"] == json["results"][0]["id"]));
    }
    // The log was asked once for each batch.
    assert_eq!(world.sink.calls(), ["send 4", "send 4"]);
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_to_take_is_fine_and_nothing_taken_is_not() {
    let world = World::new();
    let gateway = world.start().await;
    for (more, body) in [("", "[]"), (NDJSON, ""), (NDJSON, "\n \n")] {
        let answer = gateway.post(BATCH, "token-u1", more, body).await;
        assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"accepted": 0, "results": []})));
    }
    // All at fault: an answer for each, and the log is left alone.
    let answer = gateway.post(BATCH, "token-u1", "", "[1,2]").await;
    assert_eq!((answer.status, statuses(&answer)), (200, vec!["invalid".to_owned(); 2]));
    assert_eq!(world.sink.calls(), Vec::<String>::new());
    // The log takes none: come back with all.
    let answer = gateway.post(BATCH, "token-u1", "", format!("[{},3]", like("u1", "p-retriable"))).await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_refused_as_a_whole() {
    let mut world = World::new();
    world.base.options.max_batch_events = 3;
    let gateway = world.start().await;
    for body in [&b""[..], b"{}", b"[1", b"[1]x", b"[\"\xff\"]"] {
        gateway.post(BATCH, "token-u1", "", body).await.problem(400, "malformed");
    }
    gateway.post(BATCH, "token-u1", "", "[1,2,3,4]").await.problem(413, "too-large");
    gateway.post(BATCH, "token-u1", NDJSON, "1\n2\n3\n4").await.problem(413, "too-large");
    assert_eq!(gateway.post(BATCH, "token-u1", NDJSON, "1\n2\n3\n").await.status, 200);
    gateway
        .post(BATCH, "token-u1", "Content-Type: text/csv\r\n", "1,2")
        .await
        .problem(415, "unsupported-media-type");
    gateway.post(BATCH, "token-unknown", "", "[]").await.problem(401, "unauthenticated");
    let key = format!("Idempotency-Key: {}\r\n", EventId::derived(NOW, 7));
    let answer = gateway.post(BATCH, "token-u1", &key, "[]").await;
    assert_eq!(answer.problem(422, "invalid").as_deref(), Some("Idempotency-Key"));
    gateway.stop().await;
}
