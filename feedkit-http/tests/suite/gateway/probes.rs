//! Health and metrics.

use feedkit_core::health::Component;
use serde_json::json;

use super::world::{World, like, until};

#[tokio::test]
async fn readiness_names_every_component() {
    let world = World::new();
    let gateway = world.start().await;
    assert_eq!(gateway.get("/health/live").await.json(), json!({"status": "live"}));
    let set = |components: &[Component]| *world.health.0.lock().unwrap() = components.to_vec();
    let own = json!({"name": "gateway", "condition": "up"});

    set(&[Component::up("log"), Component::up("counters")]);
    let up = |name: &str| json!({"name": name, "condition": "up"});
    // The fan-out has to have begun to read.
    let mut answer = gateway.get("/health/ready").await;
    while answer.json()["status"] == "degraded" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        answer = gateway.get("/health/ready").await;
    }
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ready")));
    assert_eq!(answer.json()["components"], json!([own, up("log"), up("counters"), up("live")]));

    set(&[Component::up("log"), Component::degraded("counters", "are being rebuilt")]);
    let answer = gateway.get("/health/ready").await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("degraded")));

    set(&[Component::down("log", "is away"), Component::up("counters")]);
    let answer = gateway.get("/health/ready").await;
    let down = json!({"name": "log", "condition": "down", "detail": "is away"});
    assert_eq!((answer.status, answer.json()["status"].as_str()), (503, Some("unready")));
    assert_eq!(answer.json()["components"], json!([own, down, up("counters"), up("live")]));
    assert_eq!(gateway.get("/health/live").await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn metrics_are_by_route_and_reason() {
    let world = World::new();
    let gateway = world.start().await;
    for post in ["p1", "p2", "p-retriable"] {
        gateway.post("/api/events", "token-u1", "", like("u1", post)).await;
    }
    gateway.post("/api/events", "token-u1", "", "{}").await;
    gateway.post("/api/events", "token-u1", "", like("u2", "p1")).await;
    gateway.post("/api/events/batch", "token-u1", "", format!("[{},1]", like("u1", "p3"))).await;
    gateway.get("/nowhere/a").await;
    gateway.get("/nowhere/b").await;
    gateway.ask("BREW /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = gateway.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    for line in [
        r#"feedkit_http_requests_total{method="POST",route="/api/events",status="202"} 2"#,
        r#"feedkit_http_requests_total{method="POST",route="/api/events",status="403"} 1"#,
        r#"feedkit_http_requests_total{method="POST",route="/api/events",status="422"} 1"#,
        r#"feedkit_http_requests_total{method="POST",route="/api/events",status="503"} 1"#,
        r#"feedkit_http_requests_total{method="POST",route="/api/events/batch",status="200"} 1"#,
        r#"feedkit_http_requests_total{method="GET",route="none",status="404"} 2"#,
        r#"feedkit_http_requests_total{method="other",route="none",status="404"} 1"#,
        r#"feedkit_http_request_duration_seconds_count{route="/api/events"} 5"#,
        "feedkit_http_accept_errors_total 0",
        "feedkit_gateway_events_accepted_total 3",
        r#"feedkit_gateway_events_rejected_total{reason="forbidden"} 1"#,
        r#"feedkit_gateway_events_rejected_total{reason="invalid"} 1"#,
        r#"feedkit_gateway_events_rejected_total{reason="malformed"} 1"#,
        r#"feedkit_gateway_events_rejected_total{reason="unavailable"} 1"#,
        "feedkit_gateway_log_ack_seconds_count 4",
        "feedkit_gateway_events_in_flight 0",
        "feedkit_gateway_limiter_failures_total 0",
    ] {
        assert!(answer.text().contains(&format!("\n{line}\n")), "{line} in\n{}", answer.text());
    }
    assert!(!answer.text().contains("nowhere"));
    // Connections are counted until they end.
    until(|| world.connections() == 0).await;
    let mut client = gateway.client().await;
    client.write("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.answer().await;
    assert_eq!(world.connections(), 1);
    drop(client);
    until(|| world.connections() == 0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_head_asks_for_the_head_alone() {
    let world = World::new();
    let gateway = world.start().await;
    let mut client = gateway.client().await;
    client.write("HEAD /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let answer = client.hung_up().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    gateway.stop().await;
}
