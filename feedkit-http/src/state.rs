//! What all requests share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use poem::Request;
use poem::http::header::AUTHORIZATION;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::{Caller, Metrics};
use super::live::Hub;
use super::{Parts, Problem, Settings};
use feedkit_core::access::Identity;
use feedkit_core::{Clock, Error, ErrorKind, Result, TokenVerifier};

/// What all requests share.
pub(crate) struct State {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    /// A permit for each event that waits for the log.
    pub(crate) in_flight: Semaphore,
    /// A permit for each KiB of bodies that wait in memory for their rest.
    pub(crate) buffered_kib: Semaphore,
    /// Has a token for each request that is not answered yet.
    pub(crate) unanswered: TaskTracker,
    /// Cancelled when the time to stop is over: whatever still runs is dropped.
    pub(crate) killed: CancellationToken,
    /// Sockets and streams.
    pub(crate) live: Arc<Hub>,
    /// Set when the gateway stops: it is not ready any more.
    draining: AtomicBool,
}

impl State {
    pub(crate) fn new(parts: Parts, settings: Settings) -> Self {
        // A batch of the largest size has to fit, or it would never be taken.
        let in_flight =
            settings.max_in_flight.max(settings.max_batch_events).clamp(1, Semaphore::MAX_PERMITS);
        let buffered_kib = (settings.max_buffered_bytes / 1024).min(Semaphore::MAX_PERMITS);
        State {
            metrics: Metrics::new(&parts.metrics),
            in_flight: Semaphore::new(in_flight),
            buffered_kib: Semaphore::new(buffered_kib),
            unanswered: TaskTracker::new(),
            killed: CancellationToken::new(),
            live: Hub::new(&parts, &settings),
            draining: AtomicBool::new(false),
            parts,
            settings,
        }
    }

    /// Who bears the request's token.
    ///
    /// # Errors
    ///
    /// 401 without a token, or with one that is not to be believed; 503 when that cannot be told now.
    pub(crate) async fn identify(&self, request: &Request) -> Result<Identity, Problem> {
        let Some(token) = bearer(request) else {
            return Err(Problem::unauthenticated("the header `Authorization: Bearer TOKEN` is missing"));
        };
        let identity = self.verify(token).await?;
        if let Some(caller) = request.data::<Arc<Caller>>() {
            caller.identified(&identity.user);
        }
        Ok(identity)
    }

    /// Who bears `token`, however it came.
    ///
    /// # Errors
    ///
    /// As those of [`identify`](State::identify).
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, Problem> {
        let verify = self.parts.tokens.verify(token, self.parts.clock.now());
        let verified = self.in_time("the verifier of tokens", verify).await;
        verified.map_err(|error| match error.kind() {
            ErrorKind::Invalid => Problem::unauthenticated(error.to_string()),
            _ => Problem::from(error),
        })
    }

    /// What `call` gives, if it does so within the [time for an answer](Settings::answer_timeout).
    pub(crate) async fn in_time<T>(&self, whose: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.settings.answer_timeout;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::retriable(format!("{whose} did not answer within {limit:?}"))),
        }
    }

    /// From now on the gateway is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway stops.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
