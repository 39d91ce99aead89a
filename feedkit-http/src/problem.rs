//! Errors in answers: RFC 9457 problem details.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use serde::Serialize;

use feedkit_core::codec::{InvalidEvent, InvalidReason};
use feedkit_core::{Error, ErrorKind};

/// An error in a request, or in answering one.
///
/// `type` is `urn:feedkit:problem:` and the [`kind`](Problem::kind), which never changes its
/// meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The last part of `type`, such as `rate-limited`.
    pub kind: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// The kind in words. It is always the same for one kind.
    pub title: &'static str,
    /// What is wrong with this request, and the value at fault. It contains no secret.
    pub detail: String,
    /// The field at fault.
    pub field: Option<String>,
    /// How long the client should wait before it tries again.
    pub retry_after: Option<Duration>,
    /// The age of the data that an answer could show now.
    pub age: Option<Duration>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $kind:literal $status:ident $title:literal)*) => {
        impl Problem {
            $($(#[$doc])*
            pub fn $name(detail: impl Into<String>) -> Self {
                Problem {
                    kind: $kind,
                    status: StatusCode::$status,
                    title: $title,
                    detail: detail.into(),
                    field: None,
                    retry_after: None,
                    age: None,
                }
            })*

            /// All kinds, each with its status and title.
            pub const KINDS: &'static [(&'static str, StatusCode, &'static str)] =
                &[$(($kind, StatusCode::$status, $title)),*];
        }
    };
}

kinds! {
    /// 400: the request cannot be read.
    malformed "malformed" BAD_REQUEST "The request cannot be read"
    /// 401: the token is missing or not valid.
    unauthenticated "unauthenticated" UNAUTHORIZED "A valid token is needed"
    /// 403: the caller may not do this.
    forbidden "forbidden" FORBIDDEN "This is not allowed"
    /// 404: no such route or thing exists.
    not_found "not-found" NOT_FOUND "There is nothing here"
    /// 405: the route does not support this method.
    method_not_allowed "method-not-allowed" METHOD_NOT_ALLOWED "The method is not allowed"
    /// 408: the request took too long to arrive.
    too_slow "request-timeout" REQUEST_TIMEOUT "The request took too long to arrive"
    /// 413: the request has too many bytes or events.
    too_large "too-large" PAYLOAD_TOO_LARGE "The request is too large"
    /// 415: the gateway does not read this content type or encoding.
    unsupported_media_type "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "The content type is not supported"
    /// 422: the request was read, but a value is not valid.
    invalid "invalid" UNPROCESSABLE_ENTITY "A value is not valid"
    /// 429: the caller sent too many requests.
    rate_limited "rate-limited" TOO_MANY_REQUESTS "Too many requests"
    /// 500: the gateway has a bug or a broken backend.
    internal "internal" INTERNAL_SERVER_ERROR "The gateway failed"
    /// 503: the gateway cannot answer now.
    unavailable "unavailable" SERVICE_UNAVAILABLE "Not available now"
    /// 504: the write that `after` names did not become visible in time.
    not_yet_visible "not-yet-visible" GATEWAY_TIMEOUT "The write is not visible yet"
}

impl Problem {
    /// Sets the field at fault.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Sets how long the client should wait.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets the age of the data that an answer could show now.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// The problem as an answer with the request's id.
    pub fn answer(&self, request_id: &str) -> Response {
        self.render(Some(request_id))
    }

    fn render(&self, request_id: Option<&str>) -> Response {
        let body = serde_json::to_vec(&self.body(request_id)).unwrap_or_default();
        let mut answer = Response::builder()
            .status(self.status)
            .header(header::CONTENT_TYPE, "application/problem+json")
            .body(body);
        if let Some(wait) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }

    /// The problem as JSON.
    pub fn body<'a>(&'a self, request_id: Option<&'a str>) -> ProblemBody<'a> {
        ProblemBody {
            kind: format!("urn:feedkit:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
            age: self.age.map(seconds),
            request_id,
        }
    }
}

/// The JSON form of a [`Problem`].
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem, description = "An error (RFC 9457).")]
pub struct ProblemBody<'a> {
    /// `urn:feedkit:problem:KIND`.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The age of the data that an answer could show now, in seconds, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    /// The request's id, for questions to an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// Whole seconds, rounded up, so that a client waits long enough.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl From<InvalidEvent> for Problem {
    fn from(invalid: InvalidEvent) -> Self {
        if invalid.reason == InvalidReason::Malformed {
            return Problem::malformed(format!("the event {invalid}"));
        }
        let problem = Problem::invalid(invalid.to_string());
        match invalid.field {
            Some(field) => problem.field(field),
            None => problem,
        }
    }
}

/// Converts a backend's error for a client. The details go to the log only.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        static AWAY: Seldom = Seldom::new();
        static FAILS: Seldom = Seldom::new();
        match error.kind() {
            ErrorKind::Invalid => Problem::invalid(error.to_string()),
            kind if kind.may_pass() => {
                if AWAY.due() {
                    tracing::warn!(?error, "a backend cannot answer");
                }
                Problem::unavailable("a backend cannot answer now").retry_after(Duration::from_secs(1))
            }
            _ => {
                if FAILS.due() {
                    tracing::error!(?error, "a backend fails");
                }
                Problem::internal("a backend fails; see the gateway's log")
            }
        }
    }
}

impl poem::error::ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn as_response(&self) -> Response {
        self.nameless()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.nameless()
    }
}

impl Problem {
    /// The problem as an answer without the request's id. The outermost endpoint finds the problem
    /// in the answer and adds the id.
    fn nameless(&self) -> Response {
        let mut answer = self.render(None);
        answer.extensions_mut().insert(self.clone());
        answer
    }
}

/// Allows one log line per second, because a backend that is away fails every request.
pub(crate) struct Seldom(AtomicU64);

impl Seldom {
    pub(crate) const fn new() -> Self {
        Seldom(AtomicU64::new(0))
    }

    /// Whether a line may be logged now.
    pub(crate) fn due(&self) -> bool {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let second = START.elapsed().as_secs() + 1;
        self.0.fetch_max(second, Ordering::Relaxed) < second
    }
}
