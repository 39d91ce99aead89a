//! A gateway over memory backends, driven without a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::world::{GatewayWorld, identity};
use async_trait::async_trait;
use feedkit_core::alert_log::AlertStep;
use feedkit_core::counters::{ChunkOutcome, CounterChunk, Fence, RebuildToken, chunks};
use feedkit_core::effect::LoggedEvent;
use feedkit_core::health::{Component, Health};
use feedkit_core::history::{JournalRead, PostTotals};
use feedkit_core::memory::{MemoryAlertLog, MemoryCounters, MemoryHistory};
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::testkit::conformance::support::{at, batch};
use feedkit_core::testkit::{Hooked, Hooks, ManualClock};
use feedkit_core::trending::Trending;
use feedkit_core::{
    AlertLog, AnswerCache, CounterStore, Counts, Epoch, Error, EventSource, History, Offset, Partition,
    Position, Positions, PostId, Result, Timestamp,
};
use feedkit_http::{GatewayOptions, LocalCache, Visibility};
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::{Endpoint, EndpointExt, Request};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

/// The time in these tests, unless one moves it: two hours after the time at which their events
/// begin.
pub(super) const NOW: i64 = 7200;

pub(super) struct World {
    pub(super) queries: Arc<Hooked<MemoryHistory, Watched>>,
    pub(super) counters: Arc<ShyCounters>,
    pub(super) alerts: Arc<MemoryAlertLog>,
    pub(super) visible: Arc<Visible>,
    pub(super) clock: ManualClock,
    pub(super) routes: BoxEndpoint<'static>,
    epoch: Epoch,
    next: AtomicU64,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
}

impl World {
    pub(super) async fn new() -> World {
        World::with(GatewayOptions::default(), Arc::new(LocalCache::default())).await
    }

    pub(super) async fn with_settings(change: impl FnOnce(&mut GatewayOptions)) -> World {
        let mut options = GatewayOptions::default();
        change(&mut options);
        World::with(options, Arc::new(LocalCache::default())).await
    }

    pub(super) async fn with(options: GatewayOptions, cache: Arc<dyn AnswerCache>) -> World {
        let history = MemoryHistory::new();
        let epoch = history.claim(Partition(0), "g").await.unwrap().epoch;
        let queries = Arc::new(Hooked { inner: history, hooks: Watched::default() });
        let counters = Arc::new(ShyCounters::default());
        let alerts = Arc::new(MemoryAlertLog::new());
        let visible = Arc::new(Visible::default());
        let later = at(NOW + 3600);
        let tokens = [
            ("token-of-a".to_owned(), identity("a", &[], &[], later)),
            ("token-of-m".to_owned(), identity("m", &["moderator"], &[], later)),
        ];
        let mut base = GatewayWorld::new(at(NOW), tokens);
        base.options = options;
        base.parts.queries = queries.clone();
        base.parts.counters = Some(counters.clone());
        base.parts.cache = cache;
        base.parts.alerts = alerts.clone();
        base.parts.visibility = visible.clone();
        base.parts.notifications = Arc::new(no_source);
        base.parts.health = Arc::new(Well);
        let clock = base.clock.clone();
        let routes = base.gateway().routes().boxed();
        World { queries, counters, alerts, visible, clock, routes, epoch, next: AtomicU64::new(0) }
    }

    /// Commits events and counts them; each is `(user, post, kind)`, a second after the one before.
    pub(super) async fn commit(&self, events: &[(&str, &str, &str)]) {
        let from = self.next.load(Ordering::Relaxed);
        let events = (from..).zip(events).map(|(offset, (user, post, kind))| {
            feedkit_core::testkit::conformance::support::event(offset, user, post, kind)
        });
        self.commit_events(events.collect()).await;
    }

    pub(super) async fn commit_events(&self, events: Vec<LoggedEvent>) {
        let from = self.next.fetch_add(events.len() as u64, Ordering::Relaxed);
        let to = from + events.len() as u64;
        let history = &self.queries.inner;
        history.commit(Arc::new(batch(self.epoch, from, to, events))).await.unwrap();
        let read = history.journal(Partition(0), from, usize::MAX).await.unwrap();
        let JournalRead::Entries(entries) = read else { panic!("the journal is gone") };
        let incarnation = history.incarnation().await.unwrap();
        for chunk in entries.iter().flat_map(|e| chunks(e, incarnation, &Trending::default())) {
            assert_eq!(self.counters.inner.apply(&chunk).await.unwrap(), ChunkOutcome::Applied);
        }
    }

    /// Raises so many alerts, numbered from `from`.
    pub(super) async fn raise(&self, from: u64, count: u64) {
        let now = at(0);
        let lease = self.alerts.acquire("o", now, Duration::from_secs(60)).await.unwrap().unwrap();
        let alert = |i: u64| Notification {
            id: format!("alert:{i}"),
            kind: "FRAUD".to_owned(),
            severity: Severity::Critical,
            audience: Audience::Role("moderator".to_owned()),
            title: format!("alert {i}"),
            data: serde_json::Map::from_iter([("rate".to_owned(), 12.5.into())]),
            occurred_at: at(i as i64),
        };
        let alerts = (from..from + count).map(alert).collect();
        let recovered = self.alerts.recover(&lease).await.unwrap();
        let number = recovered.steps.last().map_or(1, |s| s.number + 1);
        let step = AlertStep { number, watermark: now, consumed: vec![], alerts };
        self.alerts.step(&lease, &step).await.unwrap();
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(request(path)).await
    }

    pub(super) async fn get_as(&self, token: &str, path: &str) -> Answer {
        let mut request = request(path);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        self.send(request).await
    }

    pub(super) async fn send(&self, request: Request) -> Answer {
        let response = self.routes.get_response(request).await;
        let (parts, body) = response.into_parts();
        let body = body.into_vec().await.unwrap();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, json }
    }
}

pub(super) fn request(path: &str) -> Request {
    Request::builder().method(Method::GET).uri(path.parse().unwrap()).finish()
}

impl Answer {
    /// The JSON of an answer that must be well.
    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.json);
        assert_eq!(self.headers["content-type"], "application/json");
        self.json
    }

    /// The JSON of an answer that must be this problem.
    #[track_caller]
    pub(super) fn problem(self, status: u16, kind: &str, field: Option<&str>) -> Value {
        let json = &self.json;
        assert_eq!(self.status.as_u16(), status, "{json}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{json}");
        assert_eq!(json["type"], format!("urn:feedkit:problem:{kind}"), "{json}");
        assert_eq!(json["status"], status, "{json}");
        assert_eq!(json["field"].as_str(), field, "{json}");
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{json}");
        self.json
    }
}

/// Counters that can be made to fail or to hang.
#[derive(Default)]
pub(super) struct ShyCounters {
    pub(super) inner: MemoryCounters,
    pub(super) fail: AtomicBool,
    pub(super) hang: AtomicBool,
    pub(super) asked: AtomicUsize,
}

impl ShyCounters {
    async fn answer(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.hang.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match self.fail.load(Ordering::Relaxed) {
            true => Err(Error::retriable("the counters are away")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Counts for ShyCounters {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        self.answer().await?;
        self.inner.posts(posts).await
    }
    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        self.answer().await?;
        self.inner.top(limit).await
    }
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.answer().await?;
        self.inner.trending(now, limit).await
    }
}

#[async_trait]
impl CounterStore for ShyCounters {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        self.inner.fence(partition).await
    }
    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        self.inner.apply(chunk).await
    }
    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        self.inner.begin_rebuild().await
    }
    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        self.inner.load(token, totals).await
    }
    async fn finish_rebuild(&self, token: RebuildToken, at: &Positions, incarnation: u128) -> Result<()> {
        self.inner.finish_rebuild(token, at, incarnation).await
    }
}

/// Queries are counted, can be held back, and can fail.
pub(super) struct Watched {
    asked: AtomicUsize,
    pub(super) fail: AtomicBool,
    /// A query takes a permit and gives it back.
    pub(super) gate: Semaphore,
}

impl Default for Watched {
    fn default() -> Self {
        Watched { asked: AtomicUsize::new(0), fail: AtomicBool::new(false), gate: Semaphore::new(9) }
    }
}

impl Watched {
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Hooks<MemoryHistory> for Watched {
    async fn query(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let _permit = self.gate.acquire().await.unwrap();
        match self.fail.load(Ordering::Relaxed) {
            true => Err(Error::retriable("the history is away, at host db-7")),
            false => Ok(()),
        }
    }
}

/// Shows what a test says is visible of partition 0; there is no other.
pub(super) struct Visible {
    upto: watch::Sender<Offset>,
    pub(super) waiting: AtomicUsize,
    pub(super) age: std::sync::Mutex<Option<Duration>>,
}

impl Default for Visible {
    fn default() -> Self {
        Visible { upto: watch::Sender::new(0), waiting: AtomicUsize::new(0), age: Default::default() }
    }
}

impl Visible {
    pub(super) fn show(&self, upto: Offset) {
        self.upto.send_replace(upto);
    }
}

#[async_trait]
impl Visibility for Visible {
    async fn wait(&self, position: Position) -> Result<()> {
        if position.partition != Partition(0) {
            return Err(Error::invalid(format!("the log has no partition {}", position.partition)));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.upto.subscribe().wait_for(|upto| *upto >= position.offset).await.unwrap();
        Ok(())
    }

    fn age(&self) -> Option<Duration> {
        *self.age.lock().unwrap()
    }
}

/// A notifications topic that cannot be read.
async fn no_source() -> Result<Box<dyn EventSource>> {
    Err(Error::retriable("nobody listens here"))
}

struct Well;

impl Health for Well {
    fn components(&self) -> Vec<Component> {
        vec![Component::up("log")]
    }
}
