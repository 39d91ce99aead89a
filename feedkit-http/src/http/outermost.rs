//! The outermost endpoint: every request passes it first, and every answer last.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use poem::error::MethodNotAllowedError;
use poem::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use poem::{Endpoint, PathPattern, Request, Response};

use super::caller::REQUEST_ID;
use super::{Caller, access_log, paths};
use crate::Problem;
use crate::problem::seconds;
use crate::state::State;

static LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Gives the request an id, converts errors and panics to problems, adds headers, updates metrics,
/// and writes the access log.
pub(crate) struct Outermost<E> {
    state: Arc<State>,
    inner: E,
}

impl<E> Outermost<E> {
    /// Wraps the gateway's routes.
    pub(crate) fn new(state: Arc<State>, inner: E) -> Self {
        Outermost { state, inner }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Outermost<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let started = Instant::now();
        // The shutdown waits for this token.
        let _unanswered = self.state.unanswered.token();
        let caller = Arc::new(Caller::new(&request, &self.state.options.trusted_proxies));
        request.set_data(Arc::clone(&caller));
        let method = request.method().clone();

        let outcome = AssertUnwindSafe(self.inner.call(request)).catch_unwind().await;
        let (mut answer, route) = match outcome {
            Ok(Ok(answer)) => as_it_is(answer, &caller),
            Ok(Err(error)) => problem_for(error, &method, &caller),
            Err(_panic) => {
                tracing::error!(request_id = caller.request_id(), %method, "an endpoint has panicked");
                let problem = Problem::internal("an endpoint has panicked; see the gateway's log");
                (problem.answer(caller.request_id()), None)
            }
        };
        let route = route.unwrap_or_else(|| Arc::from("none"));
        add_headers(answer.headers_mut(), &caller);
        self.state.metrics.answered(&method, &route, answer.status(), started.elapsed());
        let status = answer.status();
        access_log::log(access_log::Line { caller, method, route, status, started }, &mut answer);
        Ok(answer)
    }
}

/// An answer, and the pattern that its request matched.
type Routed = (Response, Option<Arc<str>>);

fn as_it_is(answer: Response, caller: &Caller) -> Routed {
    let route = answer.data::<PathPattern>().map(|p| Arc::clone(&p.0));
    // A problem that an endpoint returned as an answer has no request id yet.
    match answer.data::<Problem>() {
        Some(problem) => (problem.answer(caller.request_id()), route),
        None => (answer, route),
    }
}

fn problem_for(error: poem::Error, method: &Method, caller: &Caller) -> Routed {
    let route = error.data::<PathPattern>().map(|p| Arc::clone(&p.0));
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return (problem.answer(caller.request_id()), route);
    }
    if error.is_from_response() {
        return as_it_is(error.into_response(), caller);
    }
    if error.is::<MethodNotAllowedError>() {
        let allowed = paths::methods(route.as_deref().unwrap_or_default());
        let problem = Problem::method_not_allowed(format!(
            "this route does not support {method}; it supports {allowed}"
        ));
        let mut answer = problem.answer(caller.request_id());
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return (answer, route);
    }
    let problem = match error.status() {
        StatusCode::NOT_FOUND => Problem::not_found("no route has this path"),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(error.to_string()),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::unsupported_media_type(error.to_string()),
        status if status.is_client_error() => Problem::malformed(error.to_string()),
        _ => {
            tracing::error!(request_id = caller.request_id(), %error, "an endpoint has failed");
            Problem::internal("an endpoint has failed; see the gateway's log")
        }
    };
    (problem.answer(caller.request_id()), route)
}

fn add_headers(headers: &mut HeaderMap, caller: &Caller) {
    if let Ok(id) = HeaderValue::from_str(caller.request_id()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // A page has to set its own policy. Other answers get one that allows nothing.
    let page = headers.get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/html"));
    if !page && !headers.contains_key(CONTENT_SECURITY_POLICY) {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(CONTENT_SECURITY_POLICY, nothing);
    }
    if let Some(allowance) = caller.allowance() {
        headers.insert(LIMIT.clone(), allowance.limit.into());
        headers.insert(REMAINING.clone(), allowance.remaining.into());
        headers.insert(RESET.clone(), seconds(allowance.reset).into());
    }
}
