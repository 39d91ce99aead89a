//! Access logs: one line per request, under the target `feedkit::access`.
//!
//! A line contains no token, no query and no text. Of the path it contains only the matched
//! pattern.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Frame, SizeHint};
use poem::http::{Method, StatusCode};
use poem::{Body, Response};

use super::Caller;

/// The contents of a line, except the number of bytes.
pub(crate) struct Line {
    pub(crate) caller: Arc<Caller>,
    pub(crate) method: Method,
    pub(crate) route: Arc<str>,
    pub(crate) status: StatusCode,
    pub(crate) started: Instant,
}

/// Writes the line. If the answer's length is known it does so at once, otherwise after the last
/// byte.
pub(crate) fn log(line: Line, answer: &mut Response) {
    if !tracing::enabled!(target: "feedkit::access", tracing::Level::INFO) {
        return;
    }
    let body: BoxBody<Bytes, std::io::Error> = answer.take_body().into();
    match body.size_hint().exact() {
        Some(bytes) => {
            line.write(bytes);
            answer.set_body(Body::from(body));
        }
        None => answer.set_body(Body::from(BoxBody::new(Counted { body, bytes: 0, line }))),
    }
}

impl Line {
    fn write(&self, bytes: u64) {
        let caller = &self.caller;
        tracing::info!(
            target: "feedkit::access",
            method = self.method.as_str(),
            route = &*self.route,
            status = self.status.as_u16(),
            duration_ms = self.started.elapsed().as_micros() as f64 / 1000.0,
            bytes,
            request_id = caller.request_id(),
            client = caller.address().map(tracing::field::display),
            user = caller.user().map(feedkit_core::UserId::as_str),
        );
    }
}

/// A stream whose line is written when it ends, or when the client is gone.
struct Counted {
    body: BoxBody<Bytes, std::io::Error>,
    bytes: u64,
    line: Line,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.line.write(self.bytes);
    }
}
