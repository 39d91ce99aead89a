//! A gateway on a real socket, whose backends do what a test wants.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::access::{ByOwnership, Identity, LocalRateLimiter, WRITE_ANY};
use feedkit_core::health::{Component, Health};
use feedkit_core::memory::MemoryLog;
use feedkit_core::notification::Audience;
use feedkit_core::sink::NewRecord;
use feedkit_core::{Authorizer, Error, Event, EventSink, Partition, Position, Result, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client};
use crate::world::{GatewayWorld, identity};

/// Within this everything has happened that is going to happen, also on a machine with other things
/// to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_500_000_000);

/// A gateway whose log, health and authorizer do what a test wants.
pub(super) struct World {
    pub(super) base: GatewayWorld,
    pub(super) log: MemoryLog,
    pub(super) sink: Arc<MoodySink>,
    pub(super) health: Arc<SetHealth>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut base = GatewayWorld::new(NOW, tokens());
        let log = MemoryLog::new(4, base.clock.clone());
        let sink = MoodySink { log: log.clone(), open: watch::Sender::new(false), calls: Mutex::default() };
        let (sink, health) = (Arc::new(sink), Arc::<SetHealth>::default());
        base.parts.sink = sink.clone();
        base.parts.health = health.clone();
        base.parts.authorizer = Arc::new(Touchy);
        World { base, log, sink, health }
    }

    pub(super) async fn start(&self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let gateway = self.base.gateway();
        let task = tokio::spawn(gateway.run(listener, shutdown.clone()));
        Running { address, shutdown, task }
    }

    /// Open connections, as the gateway counts them.
    pub(super) fn connections(&self) -> i64 {
        let families = self.base.parts.metrics.gather();
        let family = families.iter().find(|f| f.name() == "feedkit_http_connections").unwrap();
        family.get_metric()[0].get_gauge().get_value() as i64
    }

    /// All values in the log.
    pub(super) fn values(&self) -> Vec<serde_json::Value> {
        let records = (0..4).flat_map(|p| self.log.records(Partition(p)));
        records.map(|r| serde_json::from_slice(&r.value).unwrap()).collect()
    }
}

/// A gateway at work.
pub(super) struct Running {
    pub(super) address: std::net::SocketAddr,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<Result<()>>,
}

impl Running {
    pub(super) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request over a connection of its own.
    pub(super) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.client().await;
        client.write(request).await;
        client.answer().await
    }

    /// Posts JSON as `token`, with more header lines.
    pub(super) async fn post(&self, path: &str, token: &str, more: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask(post(path, token, more, body)).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    /// Stops it, which has to succeed.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        within(self.task).await.unwrap().unwrap();
    }
}

/// The bytes of a POST. `more` are header lines, each with its line's end; a content type among
/// them stands.
pub(super) fn post(path: &str, token: &str, more: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let json = if more.to_ascii_lowercase().contains("content-type:") {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{json}{more}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(super) fn like(user: &str, post: &str) -> String {
    format!(r#"{{"userId":"{user}","postId":"{post}","type":"like"}}"#)
}

/// Waits for what has to come.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Waits until `condition` holds.
pub(super) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Tokens: `token-u1` of user `u1` and so on to `u3`, `token-any` of one who writes as anybody,
/// `token-old`.
fn tokens() -> [(String, Identity); 5] {
    let later = NOW.saturating_add(Duration::from_secs(3600));
    [
        ("token-u1".into(), identity("u1", &[], &[], later)),
        ("token-u2".into(), identity("u2", &[], &[], later)),
        ("token-u3".into(), identity("u3", &[], &[], later)),
        ("token-any".into(), identity("importer", &[], &[WRITE_ANY], later)),
        ("token-old".into(), identity("u1", &[], &[], NOW)),
    ]
}

/// A limiter of so many a minute, from which nothing comes back while a test runs.
pub(super) fn limiter(limit: u32) -> Option<Arc<dyn feedkit_core::RateLimiter>> {
    let limit = NonZeroU32::new(limit).unwrap();
    Some(Arc::new(LocalRateLimiter::new(limit, Duration::from_secs(1_000_000)).unwrap()))
}

/// A log in memory with moods: what it does with a record depends on the record's post.
pub(super) struct MoodySink {
    log: MemoryLog,
    /// Whether records of `p-wait` go through.
    pub(super) open: watch::Sender<bool>,
    /// What it was asked to do, in order.
    pub(super) calls: Mutex<Vec<String>>,
}

impl MoodySink {
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventSink for MoodySink {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        self.calls.lock().unwrap().push(format!("send {}", batch.len()));
        let mut outcomes = Vec::new();
        for record in batch {
            let value = String::from_utf8(record.value.to_vec()).unwrap();
            let is = |post: &str| value.contains(&format!("\"postId\":\"{post}\""));
            if is("p-wait") {
                self.open.subscribe().wait_for(|open| *open).await.unwrap();
            }
            outcomes.push(if is("p-retriable") {
                Err(Error::retriable("secret-broker:9092 is away"))
            } else if is("p-uncertain") {
                Err(Error::uncertain("secret-broker:9092 hung up"))
            } else if is("p-invalid") {
                Err(Error::invalid("the record is too large for the log"))
            } else if is("p-fatal") {
                Err(Error::fatal("secret-broker:9092 is closed"))
            } else {
                self.log.send(vec![record]).await.remove(0)
            });
        }
        outcomes
    }

    async fn flush(&self) -> Result<()> {
        self.calls.lock().unwrap().push("flush".into());
        Ok(())
    }
}

/// By ownership; it panics over posts named `p-panic`.
struct Touchy;

impl Authorizer for Touchy {
    fn may_send(&self, who: &Identity, event: &Event) -> bool {
        assert_ne!(event.post.as_str(), "p-panic", "a test's panic");
        ByOwnership.may_send(who, event)
    }

    fn may_listen(&self, who: &Identity, audience: &Audience) -> bool {
        ByOwnership.may_listen(who, audience)
    }
}

#[derive(Default)]
pub(super) struct SetHealth(pub(super) Mutex<Vec<Component>>);

impl Health for SetHealth {
    fn components(&self) -> Vec<Component> {
        self.0.lock().unwrap().clone()
    }
}
