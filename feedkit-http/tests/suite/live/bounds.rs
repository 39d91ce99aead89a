//! A client that asks for too much gets an error, and costs nothing more.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use super::world::{World, until, user};

#[tokio::test]
async fn too_large_a_frame_ends_the_socket() {
    let world = World::new();
    let served = world.serve(|options| options.live.max_frame_bytes = 1000).await;
    let mut socket = served.socket("u1").await;
    let padded = |bytes| Message::Text(format!(r#"{{"type":"ping","pad":"{:bytes$}"}}"#, "").into());
    socket.send(padded(900)).await;
    assert_eq!(socket.hear().await["type"], "pong");
    socket.send(padded(1000)).await;
    assert_eq!(socket.closed().await, 4008);
}

#[tokio::test]
async fn garbage_is_answered_a_few_times() {
    let world = World::new();
    let served = world.serve(|options| options.live.max_frames = 1000).await;
    let mut socket = served.socket("u1").await;
    for (message, code) in [
        (Message::Text("nonsense".into()), "malformed"),
        (Message::Binary(vec![1, 2].into()), "malformed"),
        (Message::Text(r#"{"type":"dance"}"#.into()), "unknown-type"),
        (Message::Text(r#"{"type":"subscribe"}"#.into()), "malformed"),
    ] {
        socket.send(message).await;
        assert_eq!(socket.hear_kind("error").await["code"], code);
    }
    // What can be read in between begins the count anew.
    for _ in 0..3 {
        socket.ping().await;
        for _ in 0..9 {
            socket.send(Message::Text("nonsense".into())).await;
            socket.hear_kind("error").await;
        }
    }
    for _ in 0..2 {
        socket.send(Message::Text("nonsense".into())).await;
    }
    assert_eq!(socket.closed().await, 4008);
}

#[tokio::test]
async fn what_is_no_websocket_frame_ends_the_socket() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // Not masked, as a client's frames have to be.
    stream.write_all(b"\x81\x02{}").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let close = answer.windows(2).position(|pair| pair == 4008u16.to_be_bytes());
    assert!(close.is_some(), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn what_is_no_upgrade_is_a_problem() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    for request in [
        "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400", "{request}");
    }
}

#[tokio::test]
async fn too_many_frames_end_the_socket() {
    let world = World::new();
    let served = world.serve(|options| options.live.max_frames = 20).await;
    let mut socket = served.socket("u1").await;
    for _ in 0..20 {
        socket.say(json!({"type": "ping"})).await;
    }
    assert_eq!(socket.closed().await, 4029);
    let mut socket = served.socket("u1").await;
    for _ in 0..25 {
        socket.send(Message::Ping(vec![].into())).await;
    }
    // The library at this end reports the answers to its pings.
    assert_eq!(served.metric("feedkit_live_closed_total", "4029"), 1.0);
    until("it is closed", || served.metric("feedkit_live_closed_total", "4029") == 2.0).await;
}

#[tokio::test]
async fn too_many_clients_are_sent_away() {
    let world = World::new();
    let served = world
        .serve(|options| {
            options.live.max_clients = 3;
            options.live.max_clients_of_user = 2;
        })
        .await;
    let first = served.socket("u1").await;
    let _second = served.socket("u1").await;
    let mut third = Socket::open(served.address).await;
    third.say(json!({"type": "auth", "token": "u1"})).await;
    assert_eq!(third.closed().await, 4029, "of one user");
    until("it is gone", || served.metric("feedkit_live_clients", "websocket") == 2.0).await;
    let _third = served.socket("u2").await;
    let mut fourth = Socket::open(served.address).await;
    assert_eq!(fourth.closed().await, 4029, "in all");
    drop(first);
    until("there is room", || served.metric("feedkit_live_clients", "websocket") == 2.0).await;
    served.socket("u1").await;
}

#[tokio::test]
async fn beyond_those_that_are_told_why_the_upgrade_is_refused() {
    let world = World::new();
    let served = world
        .serve(|options| {
            options.live.max_clients = 0;
            // Those that wait for their close frame to be read count too.
            options.live.auth_timeout = Duration::from_secs(60);
        })
        .await;
    let mut open = Vec::new();
    let status = loop {
        match Socket::open_with(served.address, &[]).await {
            Ok(socket) => open.push(socket),
            Err(status) => break status,
        }
        assert!(open.len() < 10_000);
    };
    assert_eq!(status, 503);
}

#[tokio::test]
async fn whoever_is_too_slow_comes_back_with_the_cursor_and_misses_nothing() {
    let world = World::with_partitions(1);
    let served = world.serve(|options| options.live.window_bytes = 4000).await;
    let mut socket = served.socket("u1").await;
    let mut cursor = socket.subscribe(&["me"], None).await["cursor"].as_str().unwrap().to_owned();
    // On one thread a batch is handed out before the socket's task has its turn.
    let count = 100;
    world.publish((0..count).map(|i| (user("u1"), format!("n{i}")))).await;
    let mut ids = Vec::new();
    let code = loop {
        match socket.receive().await {
            Ok(frame) => {
                ids.push(frame["notification"]["id"].as_str().unwrap().to_owned());
                cursor = frame["cursor"].as_str().unwrap().to_owned();
            }
            Err(ending) => break ending.unwrap().0,
        }
    };
    assert_eq!(code, 4009);
    assert_eq!(served.metric("feedkit_live_too_slow_total", "window"), 1.0);
    assert!(ids.len() < count);
    let mut socket = served.socket("u1").await;
    assert_eq!(socket.subscribe(&["me"], Some(&cursor)).await["recovered"], true);
    ids.extend(socket.ids(count - ids.len()).await);
    assert_eq!(ids, (0..count).map(|i| format!("n{i}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_reads_nothing_at_all_does_not_stay() {
    let world = World::with_partitions(1);
    let served = world.serve(|options| options.live.stall_timeout = Duration::from_millis(200)).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    // The kernel takes some megabytes.
    let mut next = 0;
    while served.metric("feedkit_live_closed_total", "4009") == 0.0 {
        world.publish((next..next + 1000).map(|i| (user("u1"), format!("n{i}")))).await;
        next += 1000;
        assert!(next < 1_000_000, "it takes all");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(served.metric("feedkit_live_too_slow_total", "stalled"), 1.0);
    until("it is gone", || served.metric("feedkit_live_clients", "websocket") == 0.0).await;
}

#[tokio::test]
async fn whoever_answers_no_pings_is_closed() {
    let world = World::new();
    let served = world.serve(|options| options.live.ping_every = Duration::from_millis(50)).await;
    let mut socket = served.socket("u1").await;
    // Pings are answered only by a client that reads.
    until("it is closed", || served.metric("feedkit_live_closed_total", "1001") == 1.0).await;
    assert_eq!(socket.closed().await, 1001);
    assert_eq!(socket.pings, 1);
}

#[tokio::test]
async fn whoever_answers_pings_stays() {
    let world = World::new();
    let served = world.serve(|options| options.live.ping_every = Duration::from_secs(1)).await;
    let mut socket = served.socket("u1").await;
    socket.subscribe(&["me"], None).await;
    // A socket that does not answer the first ping is closed, and gets no second one.
    socket.pinged(2).await;
    world.tell(user("u1"), "n1").await;
    assert_eq!(socket.told().await.0, "n1");
}

#[tokio::test]
async fn all_are_told_to_come_back_when_the_gateway_stops() {
    let world = World::new();
    let served = world.serve(|_| {}).await;
    let mut listening = served.socket("u1").await;
    listening.subscribe(&["me"], None).await;
    let mut idle = served.socket("u2").await;
    let mut unknown = Socket::open(served.address).await;
    // One that reads nothing does not hold it up for longer than the others are given.
    let _deaf = served.socket("u3").await;
    let ((), a, b, c) = tokio::join!(served.stop(), listening.closed(), idle.closed(), unknown.closed());
    assert_eq!([a, b, c], [1012; 3]);
}
