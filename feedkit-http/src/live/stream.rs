//! Server-sent events: the same notifications as on a WebSocket, for clients that only listen.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use poem::http::header;
use poem::{Body, Request, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::Place;
use super::channel::Channel;
use super::ending::{Ending, Slow};
use super::frame::{Frame, Refusal};
use super::hub::Hub;
use super::outbox::Outbox;
use super::subscriptions::Subscriptions;
use crate::Problem;
use crate::state::State;

/// How long the client has to read the last event.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Maximum length of a sleep, because timers reach only some years ahead.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The query of a request for a stream.
#[derive(Debug, Deserialize)]
struct Query {
    channels: Option<String>,
    cursor: Option<String>,
}

/// Opens a stream, and runs it in a task of the hub.
pub(super) async fn open(state: Arc<State>, request: Request) -> poem::Result<Response> {
    let who = state.identify(&request).await?;
    Ok(begin(&state.live, &request, who)?)
}

fn begin(
    hub: &Arc<Hub>,
    request: &Request,
    who: feedkit_core::access::Identity,
) -> Result<Response, Problem> {
    let query: Query =
        request.params().map_err(|error| Problem::malformed(format!("the query cannot be read: {error}")))?;
    let names = query.channels.unwrap_or_default();
    let names: Vec<String> =
        names.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Problem::invalid("at least one channel is needed").field("channels"));
    }
    let cursor = request.header("Last-Event-ID").map(str::to_owned).or(query.cursor);
    let away = hub.options.live.auth_timeout;
    let stops = || Problem::unavailable("the gateway stops").retry_after(away);
    if hub.is_closing() {
        return Err(stops());
    }
    let mut place = hub
        .admission
        .enter()
        .filter(|place| !place.is_surplus)
        .ok_or_else(|| Problem::unavailable("there are too many clients").retry_after(away))?;
    if !place.belongs_to(&who.user) {
        return Err(Problem::rate_limited("this user has too many clients").retry_after(away));
    }
    let outbox = Arc::new(Outbox::new(&hub.window, hub.options.live.max_client_bytes));
    let subscriptions = Subscriptions::new(hub, &outbox, who);
    let (wanted, refused) = subscriptions.check(&names);
    if let Some(refusal) = refused.into_iter().next() {
        return Err(problem(refusal));
    }
    let (events, mut sent) = mpsc::channel(1);
    let pump = Pump { hub: Arc::clone(hub), outbox, events, generation: hub.generation(), _place: place };
    if !hub.spawn(pump.run(subscriptions, wanted, cursor)) {
        return Err(stops());
    }
    let body = stream::poll_fn(move |context| {
        sent.poll_recv(context).map(|event| event.map(Ok::<Bytes, std::io::Error>))
    });
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-store")
        // This header keeps proxies from buffering the events.
        .header("X-Accel-Buffering", "no")
        .body(Body::from_bytes_stream(body)))
}

fn problem(refusal: Refusal) -> Problem {
    match refusal.code {
        "forbidden" => Problem::forbidden(refusal.detail),
        _ => Problem::invalid(refusal.detail),
    }
    .field("channels")
}

/// Moves events from an outbox into an answer's body.
struct Pump {
    hub: Arc<Hub>,
    outbox: Arc<Outbox>,
    events: mpsc::Sender<Bytes>,
    /// Cancelled when the client has to leave.
    generation: CancellationToken,
    _place: Place,
}

impl Pump {
    async fn run(self, mut subscriptions: Subscriptions, wanted: BTreeSet<Channel>, cursor: Option<String>) {
        let _present = self.hub.metrics.present("sse");
        let Err(ending) = self.pump(&mut subscriptions, wanted, cursor.as_deref()).await;
        drop(subscriptions);
        self.hub.metrics.ended(&ending);
        tracing::debug!(code = ending.code().unwrap_or(0), reason = %ending.reason(), "a stream ends");
        let last = match &ending {
            Ending::Gone => None,
            Ending::Restarting(why) => Some(Frame::closing(why)),
            other => Some(Frame::error(other.name(), &other.reason())),
        };
        if let Some(frame) = last {
            let _ = timeout(CLOSE_GRACE, self.events.send(event(&frame))).await;
        }
    }

    async fn pump(
        &self,
        subscriptions: &mut Subscriptions,
        wanted: BTreeSet<Channel>,
        cursor: Option<&str>,
    ) -> Result<Infallible, Ending> {
        let restarting = || Err(Ending::Restarting("come back with the cursor"));
        tokio::select! {
            () = self.generation.cancelled() => return restarting(),
            () = self.events.closed() => return Err(Ending::Gone),
            done = Box::pin(subscriptions.subscribe(wanted, cursor)) => done?,
        }
        let every = self.hub.options.live.ping_every;
        let expires_at = subscriptions.expires_at();
        let mut written = Instant::now();
        loop {
            let left = expires_at.since(self.hub.parts.clock.now()).min(LONGEST_SLEEP);
            tokio::select! {
                () = self.generation.cancelled() => return restarting(),
                () = self.events.closed() => return Err(Ending::Gone),
                next = self.outbox.next() => {
                    let frame = next.map_err(Ending::TooSlow)?;
                    self.write(event(&frame)).await?;
                    written = Instant::now();
                }
                () = sleep_until((written + every).min(Instant::now() + left)) => {
                    if expires_at <= self.hub.parts.clock.now() {
                        return Err(Ending::Expired);
                    }
                    if written.elapsed() >= every {
                        subscriptions.keep_alive();
                        written = Instant::now();
                    }
                }
            }
        }
    }

    async fn write(&self, event: Bytes) -> Result<(), Ending> {
        tokio::select! {
            biased;
            sent = self.events.send(event) => sent.map_err(|_| Ending::Gone),
            () = self.generation.cancelled() => Err(Ending::Restarting("come back with the cursor")),
            () = tokio::time::sleep(self.hub.options.live.stall_timeout) => Err(Ending::TooSlow(Slow::Stalled)),
        }
    }
}

/// A frame as an event with its cursor as the id. A frame without a kind becomes a comment, of
/// which clients use only the id.
fn event(frame: &Frame) -> Bytes {
    let mut event = BytesMut::with_capacity(frame.text.len() + 160);
    event.put_slice(if frame.kind.is_empty() { b": still here" } else { b"event: " });
    event.put_slice(frame.kind.as_bytes());
    if let Some(cursor) = &frame.cursor {
        event.put_slice(b"\nid: ");
        event.put_slice(cursor.as_bytes());
    }
    if !frame.kind.is_empty() {
        event.put_slice(b"\ndata: ");
        event.put_slice(frame.text.as_bytes());
    }
    event.put_slice(b"\n\n");
    event.freeze()
}
