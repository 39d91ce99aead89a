//! `feedkit serve`, running.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};

use super::USER;
use crate::program::Place;

/// How long anything may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a directory of its own.
pub(super) struct Served {
    /// The address of the page, with a slash at its end.
    pub(super) url: String,
    /// The token that it printed.
    pub(super) token: String,
    place: Place,
    args: Vec<String>,
    running: Option<Running>,
    runtime: Runtime,
}

struct Running {
    child: Child,
    /// Kept open: what the server prints must have somewhere to go.
    _output: BufReader<ChildStdout>,
}

impl Served {
    /// Starts one at a free port, with more arguments, without limits on rates.
    pub(super) fn start(args: &[&str]) -> Served {
        let mut served = Served {
            url: String::new(),
            token: String::new(),
            place: Place::new(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            running: None,
            runtime: Runtime::new().unwrap(),
        };
        served.start_again("127.0.0.1:0");
        served
    }

    /// Starts it on the same directory.
    pub(super) fn start_again(&mut self, listen: &str) {
        let mut args = vec!["serve", "--listen", listen, "--rate-limit", "0"];
        args.extend(self.args.iter().map(String::as_str));
        let mut command: Command = self.place.feedkit(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let (url, token) = loop {
            let mut line = String::new();
            assert!(
                output.read_line(&mut line).unwrap() > 0,
                "serve has ended: {said}{}",
                child.wait().unwrap()
            );
            let page = line.split_whitespace().find_map(|word| word.split_once("#token="));
            if let Some((url, token)) = page {
                break (url.to_owned(), token.to_owned());
            }
            said += &line;
        };
        self.url = url;
        self.token = token;
        self.running = Some(Running { child, _output: output });
    }

    /// Where it listens: `HOST:PORT`.
    pub(super) fn address(&self) -> String {
        self.url.trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    /// Stops it in order.
    pub(super) fn stop(&mut self) {
        let mut running = self.running.take().unwrap();
        kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
        let status = running.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Each of these users likes a post.
    pub(super) fn like(&self, post: &str, users: Range<usize>) {
        let events: Vec<Value> = users
            .map(|user| json!({"userId": format!("user-{user}"), "postId": post, "type": "like"}))
            .collect();
        let (count, body) = (events.len(), Value::from(events).to_string());
        let request = Request::post(format!("{}api/events/batch", self.url))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let (status, answer) = self.runtime.block_on(async {
            let client = Client::builder(TokioExecutor::new()).build_http();
            let answer = client.request(request).await.unwrap();
            (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
        });
        assert_eq!(status, StatusCode::OK, "{answer:?}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["accepted"], count, "{answer}");
    }

    /// Does something, and waits until the user of the page is told `title`, as a socket of ours
    /// hears it.
    pub(super) fn told(&self, act: impl FnOnce(), title: &str) {
        let mut request = format!("ws://{}/ws", self.address()).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("feedkit.v1"));
        let mut socket = self.runtime.block_on(async {
            let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
            for frame in [
                json!({"type": "auth", "token": self.token}),
                json!({"type": "subscribe", "channels": ["me"]}),
            ] {
                socket.send(Message::text(frame.to_string())).await.unwrap();
            }
            while frame(&mut socket).await["type"] != "subscribed" {}
            socket
        });
        act();
        self.runtime.block_on(async { while frame(&mut socket).await["notification"]["title"] != title {} });
    }
}

/// The next text frame.
async fn frame<S>(socket: &mut S) -> Value
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await;
        match message.expect("nothing comes").expect("the socket has ended").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(close) => panic!("{USER} is not welcome: {close:?}"),
            _ => {}
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
