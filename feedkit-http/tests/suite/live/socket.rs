//! A WebSocket client that holds the gateway to its document.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::document;
use super::world::PATIENCE;

pub(super) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Pings heard so far.
    pub(super) pings: usize,
    /// Whether counts are heard too. They come when they want, so tests of other things do without.
    pub(super) hears_counts: bool,
}

impl Socket {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Socket::open_with(address, &[]).await.unwrap_or_else(|status| panic!("answered {status}")).0
    }

    /// A socket opened with these headers, and the protocol chosen; or the status of the refusal.
    pub(super) async fn open_with(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<(Self, Option<String>), u16> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match timeout(PATIENCE, client_async(request, stream)).await.expect("an answer") {
            Ok((stream, answer)) => {
                let protocol = answer.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
                Ok((Socket { stream, pings: 0, hears_counts: false }, protocol))
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Says what a well-behaved client may say.
    pub(super) async fn say(&mut self, frame: Value) {
        document::check("hearClient", &frame);
        self.send(Message::Text(frame.to_string().into())).await;
    }

    /// Sends anything. That nobody listens any more is found by hearing.
    pub(super) async fn send(&mut self, message: Message) {
        let _ = timeout(PATIENCE, self.stream.send(message)).await.expect("is taken");
    }

    /// The next frame.
    pub(super) async fn hear(&mut self) -> Value {
        match self.receive().await {
            Ok(frame) => frame,
            Err(ending) => panic!("ended: {ending:?}"),
        }
    }

    /// The next frame, or how the connection ended: the close code and its reason, if there was
    /// any.
    pub(super) async fn receive(&mut self) -> Result<Value, Option<(u16, String)>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.stream.next()).await.expect("a frame") {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    document::check("tellSocket", &frame);
                    if frame["type"] != "counts" || self.hears_counts {
                        return Ok(frame);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.expect("a close frame with a code");
                    document::check_code(frame.code.into());
                    return Err(Some((frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(Message::Ping(_))) => self.pings += 1,
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Waits until the gateway has pinged `count` times. Nothing else may come meanwhile.
    pub(super) async fn pinged(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.pings < count {
            match timeout_at(deadline, self.stream.next()).await.expect("a ping") {
                Some(Ok(Message::Ping(_))) => self.pings += 1,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The close code, whatever comes before.
    pub(super) async fn closed(&mut self) -> u16 {
        let ending = async {
            loop {
                if let Err(ending) = self.receive().await {
                    return ending;
                }
            }
        };
        timeout(PATIENCE, ending).await.expect("an end").expect("a close frame").0
    }

    /// Subscribes; the answer.
    pub(super) async fn subscribe(&mut self, channels: &[&str], cursor: Option<&str>) -> Value {
        let mut frame = json!({"type": "subscribe", "channels": channels});
        if let Some(cursor) = cursor {
            frame["cursor"] = cursor.into();
        }
        self.say(frame).await;
        let answer = self.hear_kind("subscribed").await;
        let mut sorted: Vec<_> = channels.to_vec();
        sorted.sort_unstable();
        let mut heard: Vec<_> =
            answer["channels"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        heard.sort_unstable();
        assert_eq!(heard, sorted);
        answer
    }

    /// The next frame, of this kind.
    pub(super) async fn hear_kind(&mut self, kind: &str) -> Value {
        let frame = self.hear().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next notification's id and cursor.
    pub(super) async fn told(&mut self) -> (String, String) {
        let frame = self.hear_kind("notification").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&frame["notification"]["id"]), text(&frame["cursor"]))
    }

    /// The ids of the next notifications.
    pub(super) async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.told().await.0);
        }
        ids
    }

    /// Asks and hears that it is there; the cursor.
    pub(super) async fn ping(&mut self) -> Option<String> {
        self.say(json!({"type": "ping"})).await;
        self.hear_kind("pong").await["cursor"].as_str().map(str::to_owned)
    }
}
