//! A client of the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Generous: nothing here is about how long something takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Asks one server, as one user.
#[derive(Clone)]
pub(crate) struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: Option<String>,
}

/// A server that can be asked, and tokens for it.
pub(crate) trait Served {
    fn address(&self) -> SocketAddr;

    /// A token that it believes.
    fn token(&self, user: &str, roles: &[&str], scopes: &[&str]) -> String;

    /// Someone with a token.
    fn client(&self, user: &str) -> Client {
        Client::new(self.address(), Some(self.token(user, &[], &[])))
    }

    /// Someone who may write for everybody.
    fn writer(&self) -> Client {
        Client::new(self.address(), Some(self.token("writer", &[], &["events:write:any"])))
    }
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    #[allow(dead_code, reason = "the gateway's own tests read them")]
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: Option<String>) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Client { http, address, token }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, JSON, Bytes::new()).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, JSON, body.to_string().into()).await.unwrap()
    }

    /// An error when there is no whole answer: whether it was taken is not known then.
    pub(crate) async fn try_post(&self, path: &str, kind: &str, body: Bytes) -> Result<Answer, String> {
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
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }
}

/// Asks again and again until the answer is right.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} does not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
