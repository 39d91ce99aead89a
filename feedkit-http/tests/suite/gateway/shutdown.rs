//! A gateway stops in order, and within its time.

use std::time::Duration;

use tokio::net::TcpStream;

use super::world::{PATIENCE, World, like, post, until, within};

#[tokio::test]
async fn it_is_unready_first_then_accepts_no_more_then_finishes_then_flushes() {
    let mut world = World::new();
    world.base.options.drain = Duration::from_secs(3);
    (world.base.options.answer_timeout, world.base.options.shutdown_deadline) = (PATIENCE, PATIENCE);
    let gateway = world.start().await;
    let mut waiting = gateway.client().await;
    waiting.write(post("/api/events", "token-u1", "", like("u1", "p-wait"))).await;
    let mut idle = gateway.client().await;
    idle.write("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    until(|| world.sink.calls().len() == 1).await;

    gateway.shutdown.cancel();
    // Unready, while new connections and requests are still served.
    within(async {
        loop {
            let answer = gateway.get("/health/ready").await;
            if answer.status == 503 {
                assert_eq!(answer.json()["components"][0]["detail"], "is stopping");
                break;
            }
        }
    })
    .await;
    // Then nobody is accepted any more, and idle connections end.
    assert_eq!(idle.hung_up().await, "");
    within(async { while TcpStream::connect(gateway.address).await.is_ok() {} }).await;
    // The request at hand has not been given up, and the log has not been flushed before it.
    assert!(!gateway.task.is_finished());
    assert_eq!(world.sink.calls(), ["send 1"]);
    world.sink.open.send_replace(true);
    assert_eq!(waiting.answer().await.status, 202);
    within(gateway.task).await.unwrap().unwrap();
    assert_eq!(world.sink.calls(), ["send 1", "flush"]);
    assert_eq!(waiting.hung_up().await, "");
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_at_the_deadline() {
    let mut world = World::new();
    world.base.options.answer_timeout = PATIENCE;
    world.base.options.shutdown_deadline = Duration::from_millis(100);
    let gateway = world.start().await;
    let mut waiting = gateway.client().await;
    waiting.write(post("/api/events", "token-u1", "", like("u1", "p-wait"))).await;
    until(|| world.sink.calls().len() == 1).await;
    gateway.shutdown.cancel();
    let error = within(gateway.task).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("1 requests were not answered"), "{error}");
    assert_eq!(waiting.hung_up().await, "");
}

#[tokio::test]
async fn a_gateway_that_is_dropped_leaves_nothing_behind() {
    let mut world = World::new();
    world.base.options.answer_timeout = PATIENCE;
    let gateway = world.start().await;
    let mut waiting = gateway.client().await;
    waiting.write(post("/api/events", "token-u1", "", like("u1", "p-wait"))).await;
    until(|| world.sink.calls().len() == 1).await;
    gateway.task.abort();
    assert_eq!(waiting.hung_up().await, "");
    until(|| world.sink.open.receiver_count() == 0).await;
}

#[tokio::test]
async fn connections_without_a_request_do_not_hold_it_up() {
    let mut world = World::new();
    (world.base.options.header_timeout, world.base.options.shutdown_deadline) = (PATIENCE, PATIENCE);
    let gateway = world.start().await;
    let mut held = Vec::new();
    for start in
        ["", "PRI * HTT", "GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut client = gateway.client().await;
        client.write(start).await;
        held.push(client);
    }
    until(|| world.connections() == 4).await;
    gateway.stop().await;
}
