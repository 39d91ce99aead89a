//! Accepts connections up to a limit, and ends them in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::endpoint::ToDynEndpoint;
use poem::{Endpoint, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use feedkit_core::{Error, Result};

use super::connection::{Connection, SharedEndpoint};
use super::metrics::ServerMetrics;
use super::options::ServerOptions;
use super::streams::Streams;
use super::watched::Watched;

/// Maximum size of a request's head in bytes, and how much is read from a connection at once.
const MAX_HEAD: usize = 64 * 1024;
/// Maximum number of concurrent requests on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Maximum number of bytes that one HTTP/2 stream may send ahead of the reader.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Maximum number of bytes that one HTTP/2 connection may send ahead of the reader.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A server with bounded connections, for an endpoint of the caller's.
///
/// It limits the number of connections, the size of a request's head, and the time that a head or a
/// blocked write may take. A [`Gateway`](crate::Gateway) runs on it; a program that answers probes
/// only can use it alone:
///
/// ```no_run
/// # async fn probes(listener: tokio::net::TcpListener) -> feedkit_core::Result<()> {
/// use feedkit_http::server::{Server, ServerOptions};
/// use poem::{Route, get, handler};
///
/// #[handler]
/// fn live() -> &'static str {
///     "live"
/// }
///
/// let server = Server::new(Route::new().at("/health/live", get(live)), ServerOptions::default());
/// let shutdown = tokio_util::sync::CancellationToken::new();
/// server.run(listener, shutdown).await
/// # }
/// ```
pub struct Server {
    endpoint: SharedEndpoint,
    options: ServerOptions,
    metrics: ServerMetrics,
    http: Arc<auto::Builder<Streams>>,
    /// A permit for each connection.
    slots: Arc<Semaphore>,
    connections: TaskTracker,
    /// Cancelled when every connection has to end at once.
    killed: CancellationToken,
}

impl Server {
    /// A server of `endpoint`.
    pub fn new(endpoint: impl Endpoint<Output = Response> + 'static, options: ServerOptions) -> Self {
        Self::with(endpoint, options, ServerMetrics::default(), CancellationToken::new())
    }

    /// A server that counts in `metrics`, and drops every connection when `killed` is cancelled.
    pub(crate) fn with(
        endpoint: impl Endpoint<Output = Response> + 'static,
        options: ServerOptions,
        metrics: ServerMetrics,
        killed: CancellationToken,
    ) -> Self {
        let connections = TaskTracker::new();
        let streams = Streams { tasks: connections.clone(), killed: killed.clone() };
        let slots = options.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Server {
            endpoint: Arc::new(ToDynEndpoint(endpoint)),
            http: Arc::new(protocol(streams, options.header_timeout)),
            slots: Arc::new(Semaphore::new(slots)),
            connections,
            options,
            metrics,
            killed,
        }
    }

    /// Serves connections of `listener` until `shutdown` is cancelled. Then it accepts no more, and
    /// requests under way have [`shutdown_deadline`](ServerOptions::shutdown_deadline) to finish.
    /// No task that it has spawned is left when it returns.
    ///
    /// # Errors
    ///
    /// [`Uncertain`](feedkit_core::ErrorKind::Uncertain) when connections were cut off at the
    /// deadline.
    ///
    /// # Cancellation
    ///
    /// A dropped `run` accepts no more, and its connections are cut off.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
        let _cut_off = self.killed.clone().drop_guard();
        self.accept(listener, &shutdown).await;
        let deadline = self.options.shutdown_deadline;
        match tokio::time::timeout(deadline, self.ended()).await {
            Ok(()) => Ok(()),
            Err(_) => {
                self.killed.cancel();
                self.ended().await;
                Err(Error::uncertain(format!("the server cut off its connections after {deadline:?}")))
            }
        }
    }

    /// Accepts connections until `stopping` is cancelled. Each connection has its own task, which
    /// finishes the requests under way. The listener is closed when this returns.
    pub(crate) async fn accept(&self, listener: TcpListener, stopping: &CancellationToken) {
        let mut patience = Patience::default();
        loop {
            let accepted = stopping.run_until_cancelled(async {
                // Connections above the limit wait in the kernel's queue.
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                let slot = slot.expect("the semaphore is never closed");
                listener.accept().await.map(|(stream, _)| (stream, slot))
            });
            match accepted.await {
                None => return,
                Some(Ok((stream, slot))) => {
                    patience = Patience::default();
                    self.serve(stream, slot, stopping);
                }
                Some(Err(error)) => {
                    self.metrics.accept_errors.inc();
                    if is_of_connection(&error) {
                        continue;
                    }
                    // The process probably has no file descriptors left. Ending connections free
                    // some.
                    let wait = patience.next();
                    tracing::error!(%error, ?wait, "a connection cannot be accepted");
                    stopping.run_until_cancelled(tokio::time::sleep(wait)).await;
                }
            }
        }
    }

    /// Waits until all connections have ended.
    pub(crate) async fn ended(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    fn serve(&self, stream: TcpStream, slot: OwnedSemaphorePermit, stopping: &CancellationToken) {
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
            return; // The client is gone already.
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let (io, activity) = Watched::new(stream, slot, self.metrics.connections.clone());
        let connection = Connection {
            endpoint: Arc::clone(&self.endpoint),
            activity,
            peer,
            local,
            quiet: self.options.header_timeout,
            // Each connection has its own token, so that connections share no lock.
            stopping: stopping.child_token(),
            killed: self.killed.child_token(),
        };
        self.connections.spawn(connection.serve(Arc::clone(&self.http), TokioIo::new(io)));
    }
}

/// HTTP/1 and HTTP/2. The first bytes of a connection decide which.
fn protocol(streams: Streams, header_timeout: Duration) -> auto::Builder<Streams> {
    let mut http = auto::Builder::new(streams);
    http.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(MAX_HEAD);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}

/// Whether the new connection is at fault, and not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// How long to wait after an error: 10 ms, doubled each time, up to a second.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    fn next(&mut self) -> Duration {
        let wait = Duration::from_millis(10 << self.0).min(Duration::from_secs(1));
        self.0 = (self.0 + 1).min(7);
        wait
    }
}
