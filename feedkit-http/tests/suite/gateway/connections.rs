//! Connections are bounded, and none is kept that does nothing.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::world::{World, like, post, until, within};

fn hasty(header_timeout: Duration) -> World {
    let mut world = World::new();
    world.base.options.header_timeout = header_timeout;
    world
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let gateway = hasty(Duration::from_millis(50)).start().await;
    for start in
        ["", "P", "PRI * HTT", "GET /health/live HT", "GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: "]
    {
        let mut client = gateway.client().await;
        client.write(start).await;
        let said = client.hung_up().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{start:?}: {said}");
    }
    // Nor another request, on a connection that has had one.
    let mut client = gateway.client().await;
    client.write("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.hung_up().await, "");
    gateway.stop().await;
}

#[tokio::test]
async fn a_quiet_http_2_connection_ends_and_one_with_a_request_does_not() {
    let mut world = hasty(Duration::from_secs(1));
    world.base.options.answer_timeout = super::world::PATIENCE;
    let gateway = world.start().await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) =
        within(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = |post: &str| {
        hyper::Request::post("http://x/api/events")
            .header("authorization", "Bearer token-u1")
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(like("u1", post))))
            .unwrap()
    };
    let waiting = tokio::spawn(sender.send_request(request("p-wait")));
    until(|| world.sink.calls().len() == 1).await;
    // The clock goes on by itself until the connection has been looked at several times.
    tokio::time::pause();
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
    let second = within(sender.send_request(request("p9"))).await.unwrap();
    assert_eq!(second.status(), 202);
    assert_eq!(second.headers()["x-content-type-options"], "nosniff");
    world.sink.open.send_replace(true);
    let first = within(waiting).await.unwrap().unwrap();
    let body = first.into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["position"].is_string());
    drop(second);
    within(connection).await.unwrap().unwrap();
    gateway.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let mut world = World::new();
    world.base.options.max_connections = 2;
    let gateway = world.start().await;
    let ask = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut held = [gateway.client().await, gateway.client().await];
    for client in &mut held {
        client.write(ask).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut third = gateway.client().await;
    third.write(ask).await;
    {
        let waits = third.answer();
        tokio::pin!(waits);
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut waits).await.is_err());
        drop(held);
        assert_eq!(waits.await.status, 200);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let world = World::new();
    let gateway = world.start().await;
    let mut client = gateway.client().await;
    let request = post("/api/events", "token-u1", "", like("u1", "p9"));
    // All at once: answered in order.
    client.write(request.repeat(50)).await;
    for offset in 1..=50 {
        let position = client.answer().await.json()["position"].as_str().unwrap().to_owned();
        assert!(position.ends_with(&format!(":{offset}")), "{position} at {offset}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let world = hasty(Duration::from_millis(50));
    let gateway = world.start().await;
    let mut client = gateway.client().await;
    let ask = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    // Until the sockets are full in both directions; then writing fails, because the other side has
    // gone.
    while client.write(&ask).await {}
    until(|| world.connections() == 0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = World::new();
    let gateway = world.start().await;
    let mut client = gateway.client().await;
    let line = format!("X-A: {}\r\n", "a".repeat(1000));
    client.write(format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{}\r\n", line.repeat(90))).await;
    let said = client.hung_up().await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    assert_eq!(gateway.get("/health/live").await.status, 200);
    gateway.stop().await;
}
