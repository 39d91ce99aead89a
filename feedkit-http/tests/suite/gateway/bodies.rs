//! Bodies are bounded in bytes, packed and unpacked, in time, and all together.

use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use tokio::io::AsyncWriteExt;

use super::world::{World, like, post, until};

const EVENTS: &str = "/api/events";
const GZIP: &str = "Content-Encoding: gzip\r\n";

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

fn bounded() -> World {
    let mut world = World::new();
    world.base.options.max_body_bytes = 1000;
    world.base.options.max_batch_bytes = 300_000;
    world
}

/// A head that announces chunks.
fn chunked(path: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-u1\r\nContent-Type: application/json\r\n{more}Transfer-Encoding: chunked\r\n\r\n"
    )
}

#[tokio::test]
async fn a_length_that_is_too_large_is_refused_before_the_body_comes() {
    let gateway = bounded().start().await;
    let mut client = gateway.client().await;
    let head = "POST /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-u1\r\nContent-Type: application/json\r\nContent-Length: 1001\r\n\r\n";
    client.write(head).await;
    client.answer().await.problem(413, "too-large");
    gateway.stop().await;
}

#[tokio::test]
async fn bytes_are_counted_as_they_come() {
    let gateway = bounded().start().await;
    let padded = |size: usize| format!("{}{}", like("u1", "p9"), " ".repeat(size - like("u1", "p9").len()));
    assert_eq!(gateway.post(EVENTS, "token-u1", "", padded(1000)).await.status, 202);
    gateway.post(EVENTS, "token-u1", "", padded(1001)).await.problem(413, "too-large");
    // In chunks, of which none is too large, and no length is told.
    for (size, status) in [(1000, 202), (1001, 413)] {
        let mut client = gateway.client().await;
        client.write(chunked(EVENTS, "")).await;
        for piece in padded(size).as_bytes().chunks(90) {
            client.write(format!("{:x}\r\n", piece.len())).await;
            client.write(piece).await;
            client.write("\r\n").await;
        }
        client.write("0\r\nX-Trailer: 1\r\n\r\n").await;
        assert_eq!(client.answer().await.status, status, "{size}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn gzip_is_unpacked_within_the_same_bound() {
    let world = bounded();
    let gateway = world.start().await;
    let packed = gzip(like("u1", "p9").as_bytes()).await;
    assert_eq!(gateway.post(EVENTS, "token-u1", GZIP, &packed).await.status, 202);
    // Two members are one body.
    let body = like("u1", "p8");
    let (a, b) = body.split_at(10);
    let members = [gzip(a.as_bytes()).await, gzip(b.as_bytes()).await].concat();
    assert_eq!(gateway.post(EVENTS, "token-u1", GZIP, members).await.status, 202);
    assert_eq!(world.values().len(), 2);

    let bomb = gzip(&vec![b' '; 20_000_000]).await;
    let small_bomb = gzip(&vec![b' '; 1001]).await;
    assert!(bomb.len() < 300_000 && small_bomb.len() < 1000);
    gateway.post(EVENTS, "token-u1", GZIP, small_bomb).await.problem(413, "too-large");
    gateway.post("/api/events/batch", "token-u1", GZIP, bomb).await.problem(413, "too-large");

    gateway.post(EVENTS, "token-u1", GZIP, "not gzip").await.problem(400, "malformed");
    gateway.post(EVENTS, "token-u1", GZIP, &packed[..packed.len() - 9]).await.problem(400, "malformed");
    for encoding in ["br", "deflate", "gzip, gzip"] {
        let more = format!("Content-Encoding: {encoding}\r\n");
        gateway.post(EVENTS, "token-u1", &more, &packed).await.problem(415, "unsupported-media-type");
    }
    let identity = "Content-Encoding: identity\r\n";
    assert_eq!(gateway.post(EVENTS, "token-u1", identity, like("u1", "p9")).await.status, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let mut world = bounded();
    world.base.options.body_timeout = Duration::from_millis(50);
    let gateway = world.start().await;
    let request = post(EVENTS, "token-u1", "", like("u1", "p9"));
    let mut client = gateway.client().await;
    client.write(&request[..request.len() - 1]).await;
    client.answer().await.problem(408, "request-timeout");
    assert_eq!(world.sink.calls().len(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn bodies_share_what_memory_there_is_for_them() {
    let mut world = bounded();
    world.base.options.max_buffered_bytes = 300_000;
    let gateway = world.start().await;
    let large = format!("[{}]", " ".repeat(250_000));
    let request = post("/api/events/batch", "token-u1", "", &large);
    let mut slow = gateway.client().await;
    slow.write(&request[..request.len() - 1]).await;
    // The other is refused once the slow one's bytes have arrived. There is always room for small
    // ones.
    super::world::within(async {
        while gateway.ask(&request).await.status != 503 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(gateway.post(EVENTS, "token-u1", "", like("u1", "p9")).await.status, 202);
    slow.write(&request[request.len() - 1..]).await;
    assert_eq!(slow.answer().await.status, 200);
    assert_eq!(gateway.ask(&request).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_for_before_a_body_is_read() {
    let world = bounded();
    let gateway = world.start().await;
    let mut client = gateway.client().await;
    client.write(chunked(EVENTS, "").replace("token-u1", "token-unknown")).await;
    client.answer().await.problem(401, "unauthenticated");
    until(|| world.sink.calls().is_empty()).await;
    gateway.stop().await;
}
