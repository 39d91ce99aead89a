//! A client of a gateway.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long a test waits for an answer. No test is about how long something takes.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The content type of one event.
pub const JSON: &str = "application/json";
/// The content type of many events.
pub const NDJSON: &str = "application/x-ndjson";

/// Asks one server, as one user.
#[derive(Debug, Clone)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: Option<String>,
}

/// A server that can be asked, and tokens for it.
pub trait Served {
    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// A token that it accepts.
    fn token(&self, user: &str, roles: &[&str], scopes: &[&str]) -> String;

    /// A client with a token of this user.
    fn client(&self, user: &str) -> Client {
        Client::new(self.address(), Some(self.token(user, &[], &[])))
    }

    /// A client that may write for everybody.
    fn writer(&self) -> Client {
        Client::new(self.address(), Some(self.token("writer", &[], &["events:write:any"])))
    }
}

/// What the server said.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body: JSON, or a text if it is something else.
    pub body: Value,
}

impl Client {
    /// One without a token may read only.
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Client { http, address, token }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, JSON, Bytes::new()).await.unwrap()
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, JSON, body.to_string().into()).await.unwrap()
    }

    /// `POST`. Fails without a complete answer: then it is not known whether the server accepted
    /// the body.
    pub async fn try_post(&self, path: &str, kind: &str, body: Bytes) -> Result<Answer, String> {
        self.ask(Method::POST, path, kind, body).await
    }

    async fn ask(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", kind);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).unwrap();
        let whole = async {
            let answer = self.http.request(request).await.map_err(|e| format!("{e:?}"))?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let bytes = answer.into_body().collect().await.map_err(|e| format!("{e:?}"))?.to_bytes();
            let body = serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
            Ok(Answer { status, headers, body })
        };
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or_else(|_| Err("no answer".to_owned()))
    }
}

impl Answer {
    /// The body, if the status is this one.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }
}

/// Looks again and again until there is something to see.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
