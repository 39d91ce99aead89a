//! What all requests share.

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

/// What all requests share.
pub(crate) struct State {
    pub(crate) parts: Parts,
    pub(crate) options: GatewayOptions,
    pub(crate) metrics: Metrics,
    pub(crate) tokens: Tokens,
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
    pub(crate) fn new(parts: Parts, options: GatewayOptions) -> Self {
        // A batch of the largest size has to fit, or it would never be taken.
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

    /// From now on the gateway is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway stops.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
