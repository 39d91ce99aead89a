//! A log, counters and gateways on them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::access::Identity;
use feedkit_core::counters::{CounterChunk, CounterDelta, CounterStore, Fence};
use feedkit_core::memory::{MemoryCounters, MemoryLog};
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::sink::NewRecord;
use feedkit_core::source::{OpenSource, SourceEvent};
use feedkit_core::testkit::ManualClock;
use feedkit_core::trending::Score;
use feedkit_core::{Error, EventSink, EventSource, Partition, Positions, PostId, Result, Timestamp, UserId};
use feedkit_http::{Gateway, GatewayOptions};
use hyper_util::rt::TokioIo;
use poem::Endpoint;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::socket::Socket;
use crate::world::{GatewayWorld, identity};

/// How long a broken test may wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// When all begins. Tokens run out a day later, those of `short` a minute later.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_735_689_600_000);

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// What outlives a gateway.
#[derive(Clone)]
pub(super) struct World {
    pub(super) log: MemoryLog,
    pub(super) counters: Arc<MemoryCounters>,
    pub(super) clock: ManualClock,
    counted: Arc<AtomicU64>,
}

/// The notifications' log as one gateway sees it: it can be kept from reading.
#[derive(Clone)]
pub(super) struct Tap {
    log: MemoryLog,
    pub(super) opened: Arc<AtomicUsize>,
    pub(super) broken: Arc<AtomicBool>,
    /// Present readers fail once, in a way that passes.
    pub(super) stumble: Arc<Notify>,
    /// Readers opened as this one or later yield no records while it is less than the maximum.
    held_from: watch::Sender<usize>,
}

/// A gateway at work.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) tap: Tap,
    pub(super) gateway: Gateway,
    metrics: prometheus::Registry,
    shutdown: CancellationToken,
    gateway_task: Option<JoinHandle<Result<()>>>,
    server: CancellationToken,
    connections: TaskTracker,
}

impl World {
    pub(super) fn new() -> Self {
        World::with_partitions(4)
    }

    pub(super) fn with_partitions(partitions: u32) -> Self {
        let clock = ManualClock::at(NOW);
        World {
            log: MemoryLog::with_max_batch(partitions, clock.clone(), 50),
            counters: Arc::default(),
            clock,
            counted: Arc::default(),
        }
    }

    /// Tokens are names: of users `u1` to `u450`, `mod` (user m1, a moderator), `short` and
    /// `longer` (user u1).
    fn tokens() -> Vec<(String, Identity)> {
        let day = Duration::from_secs(24 * 60 * 60);
        let of = |user: &str, roles: &[&str], ttl| identity(user, roles, &[], NOW.saturating_add(ttl));
        let users = (1..=450).map(|n| format!("u{n}")).map(|user| (user.clone(), of(&user, &[], day)));
        let others = [
            ("mod".to_owned(), of("m1", &["moderator"], day)),
            ("demoted".to_owned(), of("m1", &[], day)),
            ("short".to_owned(), of("u1", &[], MINUTE)),
            ("longer".to_owned(), of("u1", &[], 2 * MINUTE)),
        ];
        users.chain(others).collect()
    }

    /// A gateway of its own. A minute of the tests' clock passes only when it is moved.
    pub(super) async fn serve(&self, configure: impl FnOnce(&mut GatewayOptions)) -> Served {
        let mut base = GatewayWorld::new(NOW, World::tokens());
        base.options.live.counts_every = Duration::from_millis(20);
        configure(&mut base.options);
        let tap = Tap {
            log: self.log.clone(),
            opened: Arc::default(),
            broken: Arc::default(),
            stumble: Arc::default(),
            held_from: watch::Sender::new(usize::MAX),
        };
        base.parts.sink = Arc::new(self.log.clone());
        base.parts.counters = Some(self.counters.clone());
        base.parts.notifications = Arc::new(tap.clone());
        base.parts.clock = Arc::new(self.clock.clone());
        Served::start(base.gateway(), tap, base.parts.metrics).await
    }

    /// Publishes notifications, each of an audience and an id.
    pub(super) async fn publish(&self, all: impl IntoIterator<Item = (Audience, String)>) {
        let record = |(audience, id): (Audience, String)| {
            let notification = Notification {
                id,
                kind: "MILESTONE".into(),
                severity: Severity::Info,
                title: "Your post got 100 likes".into(),
                data: serde_json::Map::from_iter([("likes".to_owned(), 100.into())]),
                occurred_at: NOW,
                audience,
            };
            let value = serde_json::to_vec(&notification).unwrap();
            NewRecord::keyed(notification.audience.key(), value.into())
        };
        for outcome in self.log.send(all.into_iter().map(record).collect()).await {
            outcome.unwrap();
        }
    }

    pub(super) async fn tell(&self, audience: Audience, id: &str) {
        self.publish([(audience, id.to_owned())]).await;
    }

    /// Counts likes of a post.
    pub(super) async fn like(&self, post: &str, by: i64) {
        let position = self.counted.fetch_add(1, Ordering::SeqCst);
        let fence = |position| Fence { position, chunk: 0, incarnation: 7 };
        let delta = CounterDelta {
            post: PostId::new(post).unwrap(),
            kind: "like".into(),
            by,
            score: Score::default(),
            author: None,
        };
        let chunk = CounterChunk {
            partition: Partition(0),
            fence: fence(position),
            next: fence(position + 1),
            deltas: vec![delta],
        };
        self.counters.apply(&chunk).await.unwrap();
    }
}

pub(super) fn user(id: &str) -> Audience {
    Audience::User(UserId::new(id).unwrap())
}

pub(super) fn post(id: &str) -> Audience {
    Audience::Post(PostId::new(id).unwrap())
}

pub(super) fn role(name: &str) -> Audience {
    Audience::Role(name.to_owned())
}

impl Served {
    async fn start(gateway: Gateway, tap: Tap, metrics: prometheus::Registry) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, server) = (CancellationToken::new(), CancellationToken::new());
        let connections = TaskTracker::new();
        let attending = gateway.clone();
        let until = shutdown.clone();
        let gateway_task = Some(tokio::spawn(async move { attending.attend(until).await }));
        let routes = Arc::new(gateway.routes());
        let (accepting, until) = (connections.clone(), server.clone());
        connections.spawn(async move {
            while let Some(Ok((stream, _))) = until.run_until_cancelled(listener.accept()).await {
                stream.set_nodelay(true).unwrap();
                let routes = Arc::clone(&routes);
                let service = hyper::service::service_fn(move |request| {
                    let routes = Arc::clone(&routes);
                    async move {
                        let scheme = poem::http::uri::Scheme::HTTP;
                        let request = (request, Default::default(), Default::default(), scheme);
                        let answer = routes.get_response(poem::Request::from(request)).await;
                        Ok::<_, Infallible>(hyper::Response::from(answer))
                    }
                });
                let until = until.clone();
                accepting.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
                    until.run_until_cancelled(connection).await
                });
            }
        });
        Served { address, tap, gateway, metrics, shutdown, gateway_task, server, connections }
    }

    /// Stops in good order. Clients that read nothing hold it up for two seconds; tests that only
    /// end just drop it.
    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        let stopped = self.gateway_task.take().unwrap();
        tokio::time::timeout(PATIENCE, stopped).await.expect("stops").unwrap().unwrap();
        self.server.cancel();
        self.connections.close();
        tokio::time::timeout(PATIENCE, self.connections.wait()).await.expect("connections end");
    }

    /// A socket of the bearer of this token.
    pub(super) async fn socket(&self, token: &str) -> Socket {
        let mut socket = Socket::open(self.address).await;
        socket.say(serde_json::json!({"type": "auth", "token": token})).await;
        assert_eq!(socket.hear().await["type"], "ready");
        socket
    }

    /// The value of a metric with these labels; 0 if there is none.
    pub(super) fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.metrics.gather();
        let all =
            families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        all.filter(|metric| label.is_empty() || metric.get_label().iter().any(|l| l.value() == label))
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }
}

/// Waits until `reached` says so, for as long as a broken test may take.
pub(super) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !reached() {
        assert!(tokio::time::Instant::now() < deadline, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Tap {
    /// Readers yield no records any more: those opened from now on, or all.
    pub(super) fn hold(&self, also_present: bool) {
        let first = if also_present { 0 } else { self.opened.load(Ordering::SeqCst) };
        self.held_from.send_replace(first);
    }

    /// They do again.
    pub(super) fn release(&self) {
        self.held_from.send_replace(usize::MAX);
    }
}

#[async_trait]
impl OpenSource for Tap {
    async fn open(&self) -> Result<Box<dyn EventSource>> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::retriable("the broker is away"));
        }
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        let held_from = self.held_from.subscribe();
        let stumble = self.stumble.clone();
        Ok(Box::new(Held { inner: Box::new(self.log.broadcast()), number, held_from, stumble, next: None }))
    }
}

struct Held {
    inner: Box<dyn EventSource>,
    number: usize,
    held_from: watch::Receiver<usize>,
    stumble: Arc<Notify>,
    /// Read while it was held.
    next: Option<SourceEvent>,
}

#[async_trait]
impl EventSource for Held {
    async fn next(&mut self) -> Result<SourceEvent> {
        if self.next.is_none() {
            self.next = tokio::select! {
                () = self.stumble.notified() => return Err(Error::retriable("the broker is away")),
                event = self.inner.next() => Some(event?),
            };
        }
        if matches!(self.next, Some(SourceEvent::Batch(_))) {
            let number = self.number;
            self.held_from
                .wait_for(|from| number < *from)
                .await
                .map_err(|_| Error::fatal("the test is over"))?;
        }
        Ok(self.next.take().unwrap())
    }

    fn pause(&mut self, partition: Partition) {
        self.inner.pause(partition);
    }

    fn resume(&mut self, partition: Partition) {
        self.inner.resume(partition);
    }

    async fn ends(&mut self) -> Result<Positions> {
        self.inner.ends().await
    }

    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        self.inner.still_held(partition).await
    }
}
