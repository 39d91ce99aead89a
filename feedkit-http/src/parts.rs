//! The backends that a gateway needs, behind their traits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use feedkit_core::health::Health;
use feedkit_core::source::OpenSource;
use feedkit_core::{
    Alerts, AnswerCache, Authorizer, Clock, Counts, EventSink, Position, Queries, RateLimiter, Result,
    TokenVerifier,
};

/// The parts of a gateway. The gateway shares all of them with the program.
#[derive(Clone)]
pub struct Parts {
    /// Receives events. A request is answered with 202 when the sink has acknowledged its event.
    pub sink: Arc<dyn EventSink>,
    /// Answers historical reads.
    pub queries: Arc<dyn Queries>,
    /// Answers real-time reads. Without it, or while it does not answer, the history answers, and
    /// the answer says so.
    pub counters: Option<Arc<dyn Counts>>,
    /// Caches historical answers. Gateways with the same cache share the work.
    pub cache: Arc<dyn AnswerCache>,
    /// The alerts that moderators read.
    pub alerts: Arc<dyn Alerts>,
    /// Opens readers of the notifications topic, for pushes and for recovery by cursor.
    pub notifications: Arc<dyn OpenSource>,
    /// Waits until a write is visible, for `after=POSITION`.
    pub visibility: Arc<dyn Visibility>,
    /// Verifies tokens.
    pub tokens: Arc<dyn TokenVerifier>,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Limits how often callers may write.
    pub limits: Limits,
    /// The components that `/health/ready` names.
    pub health: Arc<dyn Health>,
    /// The current time.
    pub clock: Arc<dyn Clock>,
    /// The registry for the gateway's metrics, and for those of the program.
    pub metrics: prometheus::Registry,
}

/// The limiters of writes. Each allows a number of events per minute; `None` means no limit.
///
/// A batch costs one per event, and is refused as a whole. Answers to writes have the headers
/// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds until the whole limit is
/// available again) of the limiter with the least remaining. A refusal also has `Retry-After`,
/// unless the batch is larger than the limit. Only writes are limited.
#[derive(Clone, Default)]
pub struct Limits {
    /// The limit per user.
    pub user: Option<Arc<dyn RateLimiter>>,
    /// The limit per client address.
    pub address: Option<Arc<dyn RateLimiter>>,
    /// The limit per user with the scope [`WRITE_ANY`](feedkit_core::access::WRITE_ANY). The other
    /// two limits do not apply to them.
    pub write_any: Option<Arc<dyn RateLimiter>>,
    /// Whether writes pass while a limiter does not answer. If `false`, they get a 503.
    pub pass_when_away: bool,
}

/// Knows which writes are visible to reads.
///
/// # Contract
///
/// [`wait`](Visibility::wait) returns when the history and the counters show every event before
/// `position`. It has no deadline of its own, and may be dropped at any time.
///
/// # Errors
///
/// [`Invalid`](feedkit_core::ErrorKind::Invalid) for a partition that the log does not have, or an
/// offset beyond its end; [`Retriable`](feedkit_core::ErrorKind::Retriable) when that is not known
/// now.
#[async_trait]
pub trait Visibility: Send + Sync + 'static {
    /// Waits until `position` is visible.
    async fn wait(&self, position: Position) -> Result<()>;

    /// The age of the data that reads show now, if it is known. Returns at once.
    fn age(&self) -> Option<Duration> {
        None
    }
}
