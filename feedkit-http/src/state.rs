//! The state that all requests share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use feedkit_core::Result;

use crate::http::Metrics;
use crate::in_time::in_time;
use crate::live::Hub;
use crate::tokens::Tokens;
use crate::{GatewayOptions, Parts};

/// The state that all requests share.
pub(crate) struct State {
    pub(crate) parts: Parts,
    pub(crate) options: GatewayOptions,
    pub(crate) metrics: Metrics,
    pub(crate) tokens: Tokens,
    /// A permit for each event that waits for the log.
    pub(crate) in_flight: Semaphore,
    /// A permit for each KiB of incomplete bodies in memory.
    pub(crate) buffered_kib: Semaphore,
    /// Holds a token for each request without an answer yet.
    pub(crate) unanswered: TaskTracker,
    /// Cancelled at the shutdown deadline: requests that still run are dropped.
    pub(crate) killed: CancellationToken,
    /// Sockets and streams.
    pub(crate) live: Arc<Hub>,
    /// Set when the gateway stops. It then reports that it is not ready.
    draining: AtomicBool,
}

impl State {
    pub(crate) fn new(parts: Parts, options: GatewayOptions) -> Self {
        // A batch of the maximum size has to fit, or it would never be accepted.
        let in_flight = options.max_in_flight.max(options.max_batch_events).clamp(1, Semaphore::MAX_PERMITS);
        let buffered_kib = (options.max_buffered_bytes / 1024).min(Semaphore::MAX_PERMITS);
        State {
            metrics: Metrics::new(&parts.metrics),
            tokens: Tokens::new(&parts, options.answer_timeout),
            in_flight: Semaphore::new(in_flight),
            buffered_kib: Semaphore::new(buffered_kib),
            unanswered: TaskTracker::new(),
            killed: CancellationToken::new(),
            live: Hub::new(&parts, &options),
            draining: AtomicBool::new(false),
            parts,
            options,
        }
    }

    /// Awaits `call` for at most [`answer_timeout`](GatewayOptions::answer_timeout).
    ///
    /// # Errors
    ///
    /// As those of [`in_time`].
    pub(crate) async fn in_time<T>(&self, whose: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        in_time(self.options.answer_timeout, whose, call).await
    }

    /// Makes the gateway report that it is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
