//! Many notifications at once, and clients that pause. All settings have their defaults, unless a
//! test says otherwise.

use std::net::SocketAddr;
use std::thread;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::events::Stream;
use super::world::{PATIENCE, Served, World, post, until, user};

/// More than the buffers of a connection hold, and less than the window.
const MORE_THAN_BUFFERS: usize = 30_000;

/// Runs the bursts in full size. This needs a limit of 20,000 open files, and some minutes.
const FULL: &str = "FEEDKIT_TEST_FULL_BURSTS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_subscribers_of_a_channel_get_a_burst_whole() {
    match std::env::var_os(FULL) {
        None => burst(250, 5000).await,
        Some(_) => {
            burst(1000, 5000).await;
            burst(9000, 1000).await;
        }
    }
}

/// Every one of `subscribers` gets `count` notifications in order. Each user has the maximum of 20
/// sockets.
async fn burst(subscribers: usize, count: usize) {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let (subscribed, mut waiting) = mpsc::unbounded_channel();
    let address = served.address;
    // The clients do not compete with the gateway for the threads of one runtime.
    let clients = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut clients = JoinSet::new();
            for i in 0..subscribers {
                let mut client = Raw::open(address, i, None).await;
                client.subscribe(&format!("u{}", i / 20 + 1), "post:p1").await;
                subscribed.send(()).unwrap();
                clients.spawn(async move { client.ids(count, "n").await });
            }
            clients.join_all().await
        })
    });
    for _ in 0..subscribers {
        timeout(PATIENCE, waiting.recv()).await.expect("in time").expect("all subscribe");
    }
    world.publish((0..count).map(|i| (post("p1"), format!("n{i}")))).await;
    let ended = tokio::task::spawn_blocking(move || clients.join().unwrap()).await.unwrap();
    let whole = ended.iter().filter(|ended| **ended == Ok(count)).count();
    assert_eq!(whole, subscribers, "the first that did not get all: {:?}", ended.iter().find(|e| e.is_err()));
    assert_eq!(served.metric("feedkit_live_too_slow_total", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_pauses_goes_on_without_a_gap() {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut paused = Raw::open(served.address, 0, Some(4096)).await;
    paused.subscribe("u1", "me").await;
    let mut steady = Raw::open(served.address, 1, None).await;
    steady.subscribe("u1", "me").await;
    publish(&world).await;
    assert_eq!(steady.ids(MORE_THAN_BUFFERS, "n").await, Ok(MORE_THAN_BUFFERS));
    // The steady one has everything, so the gateway has done all that it can for the other.
    assert_eq!(paused.ids(MORE_THAN_BUFFERS, "n").await, Ok(MORE_THAN_BUFFERS));
    world.tell(user("u1"), "after0").await;
    assert_eq!(paused.ids(1, "after").await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_pauses_goes_on_without_a_gap() {
    let world = World::with_partitions(1);
    let served = world.serve(|_| {}).await;
    let mut stream = Stream::open(served.address, "u1", "?channels=me", None).await;
    stream.hear("subscribed").await;
    publish(&world).await;
    until("all are in the window", || {
        served.metric("feedkit_live_notifications_total", "") == MORE_THAN_BUFFERS as f64
    })
    .await;
    for i in 0..MORE_THAN_BUFFERS {
        assert_eq!(stream.hear("notification").await.data["notification"]["id"], format!("n{i}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_clients_that_pause_share_one_bounded_window() {
    const BOUND: usize = 1_000_000;
    const PAUSED: usize = 20;
    let world = World::with_partitions(1);
    let served = world.serve(|options| options.live.window_bytes = BOUND).await;
    let mut all = Vec::new();
    for i in 0..PAUSED {
        let mut paused = Raw::open(served.address, i, Some(4096)).await;
        paused.subscribe("u1", if i % 2 == 0 { "me" } else { "post:p1" }).await;
        all.push(paused);
    }
    for chunk in 0..MORE_THAN_BUFFERS / 1000 {
        let ids = (chunk * 1000..(chunk + 1) * 1000).map(|i| format!("n{i}"));
        world.publish(ids.flat_map(|id| [(user("u1"), id.clone()), (post("p1"), format!("p{id}"))])).await;
        assert!(held(&served) <= BOUND as f64);
    }
    until("all are in the window", || {
        served.metric("feedkit_live_notifications_total", "") == (MORE_THAN_BUFFERS * PAUSED) as f64
    })
    .await;
    assert!(held(&served) > BOUND as f64 * 0.9 && held(&served) <= BOUND as f64, "{}", held(&served));
    // Each gets what was under way, and is then told that the rest is gone.
    for mut paused in all {
        assert_eq!(paused.ids(MORE_THAN_BUFFERS, "").await.unwrap_err().1, Some(4009));
    }
    assert_eq!(served.metric("feedkit_live_too_slow_total", "window"), PAUSED as f64);
}

async fn publish(world: &World) {
    world.publish((0..MORE_THAN_BUFFERS).map(|i| (user("u1"), format!("n{i}")))).await;
}

fn held(served: &Served) -> f64 {
    served.metric("feedkit_live_window_bytes", "")
}

/// A WebSocket that does only the least work for each frame, so that thousands fit into a test.
struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
    /// How much of `received` has been used.
    used: usize,
}

/// How many notifications came, and the close code if there was any.
type Broken = (usize, Option<u16>);

impl Raw {
    /// Connects as the client with this number. `buffer` bounds what the kernel receives for it.
    async fn open(address: SocketAddr, number: usize, buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let own = [127, 0, 1 + u8::try_from(number / 500).unwrap(), 1];
        socket.bind((own, 0).into()).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let mut raw = Raw { stream, received: Vec::new(), used: 0 };
        let request = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        raw.stream.write_all(request.as_bytes()).await.unwrap();
        let end = loop {
            if let Some(end) = raw.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            raw.read_more().await.unwrap();
        };
        assert!(raw.received.starts_with(b"HTTP/1.1 101"));
        raw.used = end;
        raw
    }

    async fn subscribe(&mut self, token: &str, channel: &str) {
        for (said, answer) in [
            (json!({"type": "auth", "token": token}), "ready"),
            (json!({"type": "subscribe", "channels": [channel]}), "subscribed"),
        ] {
            self.say(&said.to_string()).await;
            while !String::from_utf8_lossy(self.text().await.unwrap()).contains(answer) {}
        }
    }

    /// Sends a short text frame.
    async fn say(&mut self, text: &str) {
        assert!(text.len() < 126);
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Receives `count` notifications with the ids `prefix` and 0, 1, …. Without a prefix, any id
    /// is right.
    async fn ids(&mut self, count: usize, prefix: &str) -> Result<usize, Broken> {
        let mut came = 0;
        while came < count {
            let text = timeout(PATIENCE, self.text()).await.expect("a frame");
            let text = std::str::from_utf8(text.map_err(|code| (came, code))?).unwrap();
            if text.starts_with(r#"{"type":"notification""#) {
                assert!(prefix.is_empty() || text.contains(&format!(r#""id":"{prefix}{came}""#)), "{text}");
                came += 1;
            }
        }
        Ok(came)
    }

    /// The next text frame, or the close code if there is any.
    async fn text(&mut self) -> Result<&[u8], Option<u16>> {
        loop {
            let rest = &self.received[self.used..];
            let (head, length) = match rest {
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                [_, length, ..] if *length < 126 => (2, usize::from(*length)),
                _ => (2, usize::MAX - 2),
            };
            if rest.len() < head + length {
                self.received.drain(..std::mem::take(&mut self.used));
                self.read_more().await?;
                continue;
            }
            let (first, start) = (rest[0], self.used + head);
            self.used = start + length;
            let payload = &self.received[start..self.used];
            match first & 0x0f {
                0x1 => return Ok(&self.received[start..self.used]),
                0x8 => return Err(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
                0x9 => self.stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.map_err(|_| None)?,
                _ => {}
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), Option<u16>> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) | Err(_) => Err(None),
            Ok(_) => Ok(()),
        }
    }
}
