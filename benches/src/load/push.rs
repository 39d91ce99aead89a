//! Measures the time from the POST of a like to the arrival of its notification at the author's
//! socket.
//!
//! The server must raise a milestone at the first like: `[rules.milestone] thresholds = [1]`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::token::Tokens;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Push {
    /// The server's address.
    pub address: SocketAddr,
    /// Number of likes to measure, at twenty a second.
    pub samples: u32,
    /// Number of other events a second.
    pub behind: u32,
}

const AUTHOR: &str = "author";

/// Runs the measurement, and prints one line.
pub async fn run(push: Push, tokens: &Tokens) -> Result<(), Box<dyn std::error::Error>> {
    let sent: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", push.address)).await?;
    let auth = json!({ "type": "auth", "token": tokens.of(AUTHOR)? });
    let subscribe = json!({ "type": "subscribe", "channels": ["me"] });
    for frame in [auth, subscribe] {
        socket.send(Message::text(frame.to_string())).await?;
    }
    let times = sent.clone();
    let listening = tokio::spawn(async move {
        let mut latency = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid");
        while latency.len() < u64::from(push.samples) {
            let Some(Ok(message)) = socket.next().await else { break };
            let received = Instant::now();
            let Ok(frame) = serde_json::from_str::<Value>(message.to_text().unwrap_or("")) else { continue };
            let post = frame["notification"]["data"]["postId"].as_str().unwrap_or("");
            let sent = times.lock().remove(post);
            if let Some(sent) = sent {
                latency.saturating_record((received - sent).as_micros() as u64);
            }
        }
        latency
    });
    let behind = tokio::spawn(traffic(push, tokens.of("crowd")?));
    let mut author = Client::connect(push.address, tokens.of(AUTHOR)?).await?;
    let mut liker = Client::connect(push.address, tokens.of("liker")?).await?;
    let run = std::process::id();
    let post = |n: u32| format!("push-{run}-{n}");
    for n in 0..push.samples {
        author.event(AUTHOR, &post(n), "post").await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for n in 0..push.samples {
        tick.tick().await;
        sent.lock().insert(post(n), Instant::now());
        liker.event("liker", &post(n), "like").await?;
    }
    let latency = tokio::time::timeout(Duration::from_secs(30), listening)
        .await
        .map_err(|_| "not all notifications arrived")??;
    behind.abort();
    let ms = |q| latency.value_at_quantile(q) as f64 / 1000.0;
    println!(
        "POST to the author's socket with {} other events/s: {} of {} arrived, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        push.behind,
        latency.len(),
        push.samples,
        ms(0.5),
        ms(0.99),
        latency.max() as f64 / 1000.0
    );
    Ok(())
}

/// Sends the other events at an even rate over sixteen connections.
async fn traffic(push: Push, token: String) {
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..16u64 {
        let token = token.clone();
        tasks.spawn(async move {
            let mut client = Client::connect(push.address, token).await?;
            let mut tick =
                tokio::time::interval(Duration::from_secs_f64(16.0 / f64::from(push.behind.max(1))));
            for n in 0u64.. {
                tick.tick().await;
                client.event(&format!("c{lane}-{}", n % 5000), &format!("b{}", n * n % 9973), "like").await?;
            }
            Ok::<_, std::io::Error>(())
        });
    }
    while tasks.join_next().await.is_some() {}
}

struct Client {
    stream: TcpStream,
    token: String,
}

impl Client {
    async fn connect(address: SocketAddr, token: String) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, token })
    }

    /// Sends one event, and waits until the server acknowledges it.
    async fn event(&mut self, user: &str, post: &str, kind: &str) -> std::io::Result<()> {
        let body = json!({ "userId": user, "postId": post, "type": kind }).to_string();
        let request = format!(
            "POST /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let read = self.stream.read(&mut answer).await?;
        match answer[..read].starts_with(b"HTTP/1.1 202") {
            true => Ok(()),
            false => Err(std::io::Error::other(String::from_utf8_lossy(&answer[..read]).into_owned())),
        }
    }
}
