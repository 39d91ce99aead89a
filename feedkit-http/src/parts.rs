//! What a gateway is made of: the backends it hands events to and asks, behind their traits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use feedkit_core::health::Health;
use feedkit_core::source::OpenSource;
use feedkit_core::{
    Alerts, AnswerCache, Authorizer, Clock, Counts, EventSink, Position, Queries, RateLimiter, Result,
    TokenVerifier,
};

/// The parts of a gateway. All are shared; none is owned.
#[derive(Clone)]
pub struct Parts {
    /// Where events go; a 202 is answered when it has acknowledged.
    pub sink: Arc<dyn EventSink>,
    /// Historical answers.
    pub queries: Arc<dyn Queries>,
    /// Real-time answers. Without, or while it is away, the history answers and says so.
    pub counters: Option<Arc<dyn Counts>>,
    /// Where historical answers are kept for a while. Gateways that share one share the work.
    pub cache: Arc<dyn AnswerCache>,
    /// What moderators read.
    pub alerts: Arc<dyn Alerts>,
    /// Opens readers of the notifications' log, for pushes and for recovery by cursor.
    pub notifications: Arc<dyn OpenSource>,
    /// Waits until a write can be read, for `after=POSITION`.
    pub visibility: Arc<dyn Visibility>,
    /// Verifies tokens.
    pub tokens: Arc<dyn TokenVerifier>,
    /// Says who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// How often writes are allowed.
    pub limits: Limits,
    /// What readiness is made of.
    pub health: Arc<dyn Health>,
    /// The time now.
    pub clock: Arc<dyn Clock>,
    /// Where the gateway's metrics are registered, beside those of the program around it.
    pub metrics: prometheus::Registry,
}

/// The limiters of writes, each of so many events a minute. `None`: no limit.
///
/// A batch costs what it holds, and is refused as a whole. Answers to writes bear `RateLimit-Limit`,
/// `RateLimit-Remaining` and `RateLimit-Reset` (seconds until all of it is back) of the limiter that leaves the least;
/// a refusal also bears `Retry-After`, unless so much is never allowed at once. Nothing but writes is limited.
#[derive(Clone, Default)]
pub struct Limits {
    /// By user.
    pub user: Option<Arc<dyn RateLimiter>>,
    /// By client address.
    pub address: Option<Arc<dyn RateLimiter>>,
    /// For those with the scope [`WRITE_ANY`](feedkit_core::access::WRITE_ANY), by user; they are in no other.
    pub write_any: Option<Arc<dyn RateLimiter>>,
    /// Whether writes pass while a limiter is away (`true`), or are answered 503.
    pub pass_when_away: bool,
}

/// Knows how far reads have come.
///
/// # Contract
///
/// [`wait`](Visibility::wait) returns once the history and the counters show all that lies before `position`. It
/// sets no deadline of its own, and may be dropped at any time.
///
/// # Errors
///
/// [`Invalid`](feedkit_core::ErrorKind::Invalid) for a partition that the log does not have, or an offset beyond its end;
/// [`Retriable`](feedkit_core::ErrorKind::Retriable) when it cannot be told now.
#[async_trait]
pub trait Visibility: Send + Sync + 'static {
    /// Waits until `position` is visible.
    async fn wait(&self, position: Position) -> Result<()>;

    /// How old what can be read now is, where it is known. Answers at once.
    fn age(&self) -> Option<Duration> {
        None
    }
}
