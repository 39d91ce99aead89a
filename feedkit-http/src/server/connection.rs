//! One connection: serves its requests, and ends it when it is idle or stuck, or when the server
//! stops.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use poem::endpoint::DynEndpoint;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Response};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::streams::Streams;
use super::watched::{Activity, Open, Watched};

/// How long a request's head may take when the server is stopping.
const LAST_HEAD: Duration = Duration::from_millis(200);

/// The endpoint that all connections share.
pub(super) type SharedEndpoint = Arc<dyn DynEndpoint<Output = Response>>;

/// The parts of a connection besides its socket.
pub(super) struct Connection {
    pub(super) endpoint: SharedEndpoint,
    pub(super) activity: Arc<Activity>,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// How long the connection may be idle, or stuck in a write.
    pub(super) quiet: Duration,
    /// Cancelled when the connection has to end after the requests under way.
    pub(super) stopping: CancellationToken,
    /// Cancelled when the connection has to end at once.
    pub(super) killed: CancellationToken,
}

impl Connection {
    /// Serves until the client closes the connection or upgrades it to another protocol.
    pub(super) async fn serve(self, http: Arc<auto::Builder<Streams>>, io: TokioIo<Watched>) {
        let Connection { endpoint, activity, peer, local, quiet, stopping, killed } = self;
        let requests = Requests { endpoint, activity: Arc::clone(&activity), peer, local };
        let mut serving = pin!(http.serve_connection_with_upgrades(io, requests));
        let mut looks = looks_every(quiet);
        let mut seen = activity.look();
        let mut ending = false;
        loop {
            tokio::select! {
                biased;
                result = &mut serving => {
                    if let Err(error) = result {
                        tracing::debug!(%error, %peer, "a connection has failed");
                    }
                    return;
                }
                () = killed.cancelled() => return,
                () = stopping.cancelled(), if !ending => {
                    ending = true;
                    serving.as_mut().graceful_shutdown();
                    // A head that is arriving gets this long, and no longer.
                    looks = looks_every(quiet.min(LAST_HEAD));
                    seen = activity.look();
                }
                _ = looks.tick() => {
                    // Two looks in a row are needed, so that a request that has just begun is not
                    // cut off.
                    let now = activity.look();
                    let (is_quiet, is_stuck) = (now.is_quiet_since(&seen), now.is_stuck_since(&seen));
                    seen = now;
                    if is_stuck || (is_quiet && ending) {
                        tracing::debug!(%peer, is_stuck, "a connection is cut off");
                        return;
                    }
                    if is_quiet {
                        ending = true;
                        serving.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

fn looks_every(period: Duration) -> Interval {
    let mut looks = tokio::time::interval(period.max(Duration::from_millis(1)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.reset();
    looks
}

/// Hands requests to the endpoint.
struct Requests {
    endpoint: SharedEndpoint,
    activity: Arc<Activity>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Service<hyper::Request<Incoming>> for Requests {
    type Response = hyper::Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let open = Activity::open(&self.activity);
        let endpoint = Arc::clone(&self.endpoint);
        let local = LocalAddr(Addr::from(self.local));
        let remote = RemoteAddr(Addr::from(self.peer));
        Box::pin(async move {
            let request = poem::Request::from((request, local, remote, Scheme::HTTP));
            let answer = endpoint.call(request).await.unwrap_or_else(|error| error.into_response());
            let answer: hyper::Response<BoxBody<Bytes, io::Error>> = answer.into();
            Ok(answer.map(|body| Answer { body, _open: open }))
        })
    }
}

/// The body of an answer. Its request counts as open until the whole body has been sent.
pub(super) struct Answer {
    body: BoxBody<Bytes, io::Error>,
    _open: Open,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
