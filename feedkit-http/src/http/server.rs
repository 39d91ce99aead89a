//! Accepts connections, within bounds, and ends them in order.

use std::future::Future;
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

use super::connection::{Connection, SharedEndpoint};
use super::watched::Watched;
use crate::Settings;
use crate::state::State;

/// What a head may have, in bytes; also what is read from a connection at once.
const MAX_HEAD: usize = 64 * 1024;
/// Requests at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Bytes that one HTTP/2 stream, and one connection, may send ahead of what has been read.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves an endpoint.
pub(crate) struct Server {
    state: Arc<State>,
    endpoint: SharedEndpoint,
    http: Arc<auto::Builder<Streams>>,
    /// A permit for each connection.
    slots: Arc<Semaphore>,
    connections: TaskTracker,
}

impl Server {
    /// A server of `endpoint`.
    pub(crate) fn new(state: Arc<State>, endpoint: impl Endpoint<Output = Response> + 'static) -> Self {
        let connections = TaskTracker::new();
        let streams = Streams { tasks: connections.clone(), killed: state.killed.clone() };
        let slots = state.settings.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Server {
            endpoint: Arc::new(ToDynEndpoint(endpoint)),
            http: Arc::new(protocol(streams, &state.settings)),
            slots: Arc::new(Semaphore::new(slots)),
            connections,
            state,
        }
    }

    /// Accepts connections until `stopping` is cancelled, and serves them in tasks of their own, which finish what
    /// they have begun. The listener is closed when this returns.
    pub(crate) async fn accept(&self, listener: TcpListener, stopping: &CancellationToken) {
        let mut patience = Patience::default();
        loop {
            let accepted = stopping.run_until_cancelled(async {
                // Those beyond the bound wait in the kernel's queue.
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
                    self.state.metrics.accept_errors.inc();
                    if is_of_connection(&error) {
                        continue;
                    }
                    // Out of file handles, most likely: it passes when connections end.
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
            return; // Gone already.
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let (io, activity) = Watched::new(stream, slot, self.state.metrics.connections.clone());
        let connection = Connection {
            endpoint: Arc::clone(&self.endpoint),
            activity,
            peer,
            local,
            quiet: self.state.settings.header_timeout,
            // Of its own each, so that connections share no lock.
            stopping: stopping.child_token(),
            killed: self.state.killed.child_token(),
        };
        self.connections.spawn(connection.serve(Arc::clone(&self.http), TokioIo::new(io)));
    }
}

/// HTTP/1 and HTTP/2, told apart by their first bytes.
fn protocol(streams: Streams, settings: &Settings) -> auto::Builder<Streams> {
    let mut http = auto::Builder::new(streams);
    http.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_timeout).max_buf_size(MAX_HEAD);
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

/// Runs the streams of HTTP/2 connections as tasks that end with the server.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    killed: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let killed = self.killed.clone();
        self.tasks.spawn(async move {
            killed.run_until_cancelled(stream).await;
        });
    }
}

/// The connection that was to be accepted is at fault, not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// How long to wait after an error: from 10 ms, doubled each time, to a second.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    fn next(&mut self) -> Duration {
        let wait = Duration::from_millis(10 << self.0).min(Duration::from_secs(1));
        self.0 = (self.0 + 1).min(7);
        wait
    }
}
