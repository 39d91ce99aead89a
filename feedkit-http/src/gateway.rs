//! A gateway, assembled from its parts.

use std::sync::Arc;
use std::time::Duration;

use poem::{Endpoint, Response};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{GatewayOptions, Parts};
use crate::http;
use crate::live;
use crate::server::{Server, ServerMetrics, ServerOptions};
use crate::state::State;
use feedkit_core::health::Component;
use feedkit_core::{Error, EventSink, Result};

/// How long sockets have to receive their close frame after the shutdown deadline.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A gateway: routes to mount in a poem application, or to serve alone.
///
/// Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    state: Arc<State>,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(parts: Parts, options: GatewayOptions) -> Self {
        Gateway { state: Arc::new(State::new(parts, options)) }
    }

    /// All routes as one endpoint, which a poem application mounts at `/` or below another path.
    ///
    /// The application then has to limit connections, and to run [`attend`](Gateway::attend) beside
    /// its server.
    pub fn routes(&self) -> impl Endpoint<Output = Response> + use<> {
        http::routes(&self.state)
    }

    /// Runs the work that the routes need beside them until `shutdown` is cancelled. Then it stops
    /// in order, as [`run`](Gateway::run) does, except for the connections, which the application
    /// owns.
    ///
    /// # Errors
    ///
    /// As those of [`run`](Gateway::run).
    pub async fn attend(&self, shutdown: CancellationToken) -> Result<()> {
        let stopped = self.stop(&shutdown, || {}, std::future::ready(()));
        self.work_until(stopped).await
    }

    /// Serves connections of `listener` until `shutdown` is cancelled, and then stops in order:
    ///
    /// 1. The gateway reports that it is not ready.
    /// 2. After [`drain`](GatewayOptions::drain) it accepts no more connections, and finishes the
    ///    requests under way.
    /// 3. It flushes the log, closes sockets with 1012, and waits for connections to end.
    ///
    /// All of this takes at most [`shutdown_deadline`](GatewayOptions::shutdown_deadline). No task
    /// that it has spawned is left when it returns.
    ///
    /// # Errors
    ///
    /// [`Uncertain`](feedkit_core::ErrorKind::Uncertain) when requests were cut off at the
    /// deadline; the log's own error when it cannot be flushed.
    ///
    /// # Cancellation
    ///
    /// A dropped `run` accepts no more, and its connections are cut off.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
        let gateway = &self.state.options;
        let options = ServerOptions {
            max_connections: gateway.max_connections,
            header_timeout: gateway.header_timeout,
            shutdown_deadline: gateway.shutdown_deadline,
        };
        let metrics = ServerMetrics::new(&self.state.parts.metrics);
        let server = Server::with(self.routes(), options, metrics, self.state.killed.clone());
        let stopping = CancellationToken::new();
        // Also when this future is dropped.
        let _cut_off = self.state.killed.clone().drop_guard();
        let accepting = server.accept(listener, &stopping);
        let stopped = self.stop(&shutdown, || stopping.cancel(), server.ended());
        let (_, result) = tokio::join!(accepting, self.work_until(stopped));
        result
    }

    /// The condition of the fan-out. It is part of `/health/ready`; programs with their own
    /// readiness can add it there.
    pub fn component(&self) -> Component {
        self.state.live.component()
    }

    /// Runs the fan-out until `stopped` ends.
    async fn work_until(&self, stopped: impl Future<Output = Result<()>>) -> Result<()> {
        let done = CancellationToken::new();
        let stopped = async {
            let _done = done.clone().drop_guard();
            stopped.await
        };
        let ((), stopped) = tokio::join!(live::run(&self.state.live, done.clone()), stopped);
        stopped
    }

    /// Waits for `shutdown`, then stops in order.
    async fn stop(
        &self,
        shutdown: &CancellationToken,
        stop_accepting: impl FnOnce(),
        connections_ended: impl Future<Output = ()>,
    ) -> Result<()> {
        let state = &*self.state;
        shutdown.cancelled().await;
        let deadline = Instant::now() + state.options.shutdown_deadline;
        state.drain();
        tracing::info!("the gateway is stopping and reports that it is not ready");
        sleep_until(deadline.min(Instant::now() + state.options.drain)).await;
        stop_accepting();

        let mut connections_ended = std::pin::pin!(connections_ended);
        let in_order = async {
            state.unanswered.close();
            state.unanswered.wait().await;
            let flushed = state.parts.sink.flush().await;
            state.live.close().await;
            connections_ended.as_mut().await;
            flushed
        };
        match timeout_at(deadline, in_order).await {
            Ok(flushed) => {
                tracing::info!("the gateway has stopped");
                flushed.map_err(|error| error.context("flushing the log"))
            }
            Err(_) => {
                let requests = state.unanswered.len();
                state.killed.cancel();
                // Sockets that have no close frame yet get one now. Those that do not end at once
                // are cut off.
                let _ = timeout(LAST_WORDS, state.live.close()).await;
                connections_ended.await;
                let deadline = state.options.shutdown_deadline;
                Err(Error::uncertain(format!(
                    "the gateway was cut off after {deadline:?}; {requests} requests were not answered"
                )))
            }
        }
    }
}
