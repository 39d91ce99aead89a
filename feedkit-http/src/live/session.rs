//! The session of one WebSocket, in one task from the upgrade to the close frame.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use poem::Upgraded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_util::sync::CancellationToken;

use super::admission::Place;
use super::ending::{Ending, Slow};
use super::frame::{ClientFrame, Frame, Refusal};
use super::hub::Hub;
use super::outbox::Outbox;
use super::subscriptions::Subscriptions;
use feedkit_core::access::Identity;
use feedkit_core::{ErrorKind, Timestamp};

/// How long the client has to read a close frame.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// The span in which a client's frames are counted.
const RATE_SPAN: Duration = Duration::from_secs(10);

/// Maximum number of invalid frames in a row.
const MAX_GARBAGE: u32 = 10;

/// How many frames are sent before other events are handled.
const BURST: usize = 64;

/// How long a write takes that the client's pause has delayed.
const DELAYED: Duration = Duration::from_secs(1);

/// Maximum length of a sleep, because timers reach only some years ahead.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// One client.
pub(super) struct Session {
    hub: Arc<Hub>,
    socket: WebSocketStream<Upgraded>,
    place: Place,
    outbox: Arc<Outbox>,
    /// Cancelled when the client has to leave.
    generation: CancellationToken,
    /// When the last frame arrived.
    heard: Instant,
    /// Whether a ping was sent since then.
    pinged: bool,
    /// The start of the current count of frames, and the count.
    rate: (Instant, u32),
    garbage: u32,
}

impl Session {
    pub(super) fn new(hub: Arc<Hub>, socket: WebSocketStream<Upgraded>, place: Place) -> Self {
        let now = Instant::now();
        Session {
            outbox: Arc::new(Outbox::new(&hub.window, hub.options.live.max_client_bytes)),
            generation: hub.generation(),
            hub,
            socket,
            place,
            heard: now,
            pinged: false,
            rate: (now, 0),
            garbage: 0,
        }
    }

    /// Runs the session until one side ends it. `token` is the one from the upgrade, if any.
    pub(super) async fn run(mut self, token: Option<String>) {
        let hub = Arc::clone(&self.hub);
        let _present = hub.metrics.present("websocket");
        let Err(ending) = self.talk(token).await;
        hub.metrics.ended(&ending);
        tracing::debug!(code = ending.code().unwrap_or(0), reason = %ending.reason(), "a socket ends");
        let _ = timeout(CLOSE_GRACE, self.close(&ending)).await;
    }

    async fn talk(&mut self, token: Option<String>) -> Result<std::convert::Infallible, Ending> {
        if self.place.is_surplus {
            return Err(Ending::TooMany("there are too many clients"));
        }
        let token = match token {
            Some(token) => token,
            None => self.first_token().await?,
        };
        let who = self.verify(&token).await?;
        if !self.place.belongs_to(&who.user) {
            return Err(Ending::TooMany("this user has too many clients"));
        }
        self.outbox.push(Arc::new(Frame::ready(&who.user, who.expires_at)));
        let mut subscriptions = Subscriptions::new(&self.hub, &self.outbox, who);
        let mut timer = Box::pin(sleep_until(self.alarm(subscriptions.expires_at())));
        let generation = self.generation.clone();
        loop {
            set(timer.as_mut(), self.alarm(subscriptions.expires_at()));
            tokio::select! {
                () = generation.cancelled() => return Err(Ending::Restarting("come back with the cursor")),
                received = self.socket.next() => {
                    if let Some(frame) = self.heard(received)? {
                        self.answer(frame, &mut subscriptions).await?;
                    }
                }
                next = self.outbox.next() => {
                    self.send(next.map_err(Ending::TooSlow)?).await?;
                }
                () = timer.as_mut() => self.alarmed(subscriptions.expires_at()).await?,
            }
        }
    }

    /// Waits for the first frame, which has to be `auth`.
    async fn first_token(&mut self) -> Result<String, Ending> {
        let deadline = self.heard + self.hub.options.live.auth_timeout;
        let generation = self.generation.clone();
        loop {
            let received = tokio::select! {
                () = generation.cancelled() => return Err(Ending::Restarting("come back with the cursor")),
                received = timeout_at(deadline, self.socket.next()) => received,
            };
            let received =
                received.map_err(|_| Ending::Unauthenticated("no auth frame in time".to_owned()))?;
            match self.heard(received)? {
                None => {}
                Some(Ok(ClientFrame::Auth { token })) => return Ok(token),
                Some(_) => return Err(Ending::Unauthenticated("the first frame has to be auth".to_owned())),
            }
        }
    }

    async fn verify(&mut self, token: &str) -> Result<Identity, Ending> {
        let Session { hub, generation, .. } = self;
        let verified = generation.run_until_cancelled(verify(hub, token)).await;
        verified.unwrap_or(Err(Ending::Restarting("come back with the cursor")))
    }

    /// Handles a received message. Returns a frame, or its error, if it needs an answer.
    fn heard(
        &mut self,
        received: Option<Result<Message, SocketError>>,
    ) -> Result<Option<Result<ClientFrame, Refusal>>, Ending> {
        let message = match received {
            Some(Ok(message)) => message,
            Some(Err(SocketError::Capacity(_))) => {
                let most = self.hub.options.live.max_frame_bytes;
                return Err(Ending::Policy(format!("a frame has at most {most} bytes")));
            }
            Some(Err(error @ (SocketError::Protocol(_) | SocketError::Utf8(_))))
                if self.is_misuse(&error) =>
            {
                return Err(Ending::Policy(format!("not a WebSocket's frame: {error}")));
            }
            Some(Err(_)) | None => return Err(Ending::Gone),
        };
        let now = Instant::now();
        (self.heard, self.pinged) = (now, false);
        if now.duration_since(self.rate.0) > RATE_SPAN {
            self.rate = (now, 0);
        }
        self.rate.1 += 1;
        if self.rate.1 > self.hub.options.live.max_frames {
            return Err(Ending::TooMany("too many frames"));
        }
        match message {
            Message::Text(text) => Ok(Some(ClientFrame::parse(&text))),
            Message::Binary(_) => Ok(Some(Err(Refusal::malformed("binary frames are not read")))),
            Message::Close(_) => Err(Ending::Gone),
            // The WebSocket library answers pings.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    /// A connection that breaks off without a close frame is also reported as a breach of the
    /// protocol.
    fn is_misuse(&self, error: &SocketError) -> bool {
        use tokio_tungstenite::tungstenite::error::ProtocolError;
        !matches!(error, SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake))
    }

    async fn answer(
        &mut self,
        frame: Result<ClientFrame, Refusal>,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), Ending> {
        let frame = match frame {
            Ok(frame) => frame,
            Err(refusal) => {
                self.garbage += 1;
                if self.garbage > MAX_GARBAGE {
                    return Err(Ending::Policy(format!("{MAX_GARBAGE} invalid frames: {}", refusal.detail)));
                }
                self.refuse(&[refusal]);
                return Ok(());
            }
        };
        self.garbage = 0;
        match frame {
            ClientFrame::Auth { token } => {
                let who = self.verify(&token).await?;
                let (user, expires_at) = (who.user.clone(), who.expires_at);
                let refused = subscriptions.renew(who)?;
                self.outbox.push(Arc::new(Frame::ready(&user, expires_at)));
                self.refuse(&refused);
            }
            ClientFrame::Subscribe { channels, cursor } => {
                let (wanted, refused) = subscriptions.check(&channels);
                self.refuse(&refused);
                let generation = self.generation.clone();
                // The client's frames wait meanwhile. The limits of recovery also limit this time.
                tokio::select! {
                    () = generation.cancelled() => return Err(Ending::Restarting("come back with the cursor")),
                    done = Box::pin(subscriptions.subscribe(wanted, cursor.as_deref())) => done?,
                }
                self.heard = Instant::now();
            }
            ClientFrame::Unsubscribe { channels } => {
                let refused = subscriptions.unsubscribe(&channels);
                self.refuse(&refused);
            }
            ClientFrame::Ping => subscriptions.pong(),
        }
        Ok(())
    }

    fn refuse(&self, refused: &[Refusal]) {
        refused.iter().for_each(|refusal| self.outbox.push(Arc::new(refusal.into())));
    }

    /// Sends a frame, and the frames that wait behind it.
    async fn send(&mut self, first: Arc<Frame>) -> Result<(), Ending> {
        let begun = Instant::now();
        self.feed(Message::Text(first.text.clone())).await?;
        let (mut batch, mut sent) = (Vec::new(), 1);
        while sent < BURST {
            self.outbox.take(&mut batch, BURST - sent).map_err(Ending::TooSlow)?;
            if batch.is_empty() {
                break;
            }
            sent += batch.len();
            for frame in batch.drain(..) {
                self.feed(Message::Text(frame.text.clone())).await?;
            }
        }
        self.flush().await?;
        let now = Instant::now();
        if now - begun > DELAYED {
            // The client has read. Its pongs may still be under way.
            (self.heard, self.pinged) = (now, false);
        }
        Ok(())
    }

    async fn feed(&mut self, message: Message) -> Result<(), Ending> {
        let Session { hub, socket, generation, .. } = self;
        write_in_time(hub, generation, socket.feed(message)).await
    }

    async fn flush(&mut self) -> Result<(), Ending> {
        let Session { hub, socket, generation, .. } = self;
        write_in_time(hub, generation, socket.flush()).await
    }

    /// The next time when the session has work without an event.
    fn alarm(&self, expires_at: Timestamp) -> Instant {
        let every = self.hub.options.live.ping_every;
        let silent = self.heard + if self.pinged { every * 2 } else { every };
        silent.min(Instant::now() + expires_at.since(self.hub.parts.clock.now()).min(LONGEST_SLEEP))
    }

    async fn alarmed(&mut self, expires_at: Timestamp) -> Result<(), Ending> {
        if expires_at <= self.hub.parts.clock.now() {
            return Err(Ending::Expired);
        }
        let silence = self.heard.elapsed();
        let every = self.hub.options.live.ping_every;
        if silence >= every * 2 {
            return Err(Ending::Silent);
        }
        if silence >= every && !self.pinged {
            self.pinged = true;
            self.feed(Message::Ping(Bytes::new())).await?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends the close frame, and waits a little until the client has read it. A socket that is
    /// dropped while unread bytes are pending is reset, and the client would lose the close frame.
    async fn close(&mut self, ending: &Ending) -> Result<(), SocketError> {
        match ending.close_frame() {
            Some(frame) => self.socket.send(Message::Close(Some(frame))).await?,
            // Answers the client's close frame.
            None => self.socket.flush().await?,
        }
        let stream = self.socket.get_mut();
        stream.shutdown().await?;
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        Ok(())
    }
}

/// The identity that a token proves.
async fn verify(hub: &Hub, token: &str) -> Result<Identity, Ending> {
    hub.tokens.verify(token).await.map_err(|error| {
        if error.kind() == ErrorKind::Invalid {
            return Ending::Unauthenticated(error.to_string());
        }
        tracing::warn!(%error, "a token cannot be verified now");
        Ending::Restarting("tokens cannot be verified now")
    })
}

/// Waits for a write, at most as long as a client may read nothing, and not after the client has to
/// leave.
async fn write_in_time(
    hub: &Hub,
    generation: &CancellationToken,
    writing: impl Future<Output = Result<(), SocketError>>,
) -> Result<(), Ending> {
    tokio::select! {
        biased;
        written = writing => written.map_err(|_| Ending::Gone),
        () = generation.cancelled() => Err(Ending::Restarting("come back with the cursor")),
        () = tokio::time::sleep(hub.options.live.stall_timeout) => Err(Ending::TooSlow(Slow::Stalled)),
    }
}

/// Sets a timer, unless it is already set to this time.
fn set(timer: Pin<&mut Sleep>, at: Instant) {
    // The clock is read each time, so a few milliseconds of difference do not matter.
    let present = timer.deadline();
    let same = at.max(present) - at.min(present) < Duration::from_millis(5);
    if !same || timer.is_elapsed() {
        timer.reset(at);
    }
}
