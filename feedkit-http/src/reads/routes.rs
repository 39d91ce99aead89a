//! Which path leads where, and what the reads share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::{Endpoint, Request, Response, Route};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::cached::Cached;
use super::standing::Standing;
use super::{activity, alerts, comments, liked, post, top};
use crate::Problem;
use crate::state::State;
use feedkit_core::access::Identity;
use feedkit_core::{Counts, ErrorKind, Position, PostId, Result, Timestamp};

/// Adds the reads to `route`.
pub(crate) fn routes(route: Route, state: &Arc<State>) -> Route {
    let reads = Arc::new(Reads::new(Arc::clone(state)));
    route
        .at("/api/posts/top", poem::get(read(&reads, top::top)))
        .at("/api/posts/:id", poem::get(read(&reads, post::post)))
        .at("/api/posts/:id/comments", poem::get(read(&reads, comments::comments)))
        .at("/api/posts/:id/activity", poem::get(read(&reads, activity::activity)))
        .at("/api/users/me/likes", poem::get(read(&reads, liked::liked)))
        .at("/api/alerts", poem::get(read(&reads, alerts::alerts)))
}

fn read<F, Fut>(reads: &Arc<Reads>, handle: F) -> impl Endpoint<Output = Response> + use<F, Fut>
where
    F: Fn(Arc<Reads>, Request) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Response, Problem>> + Send,
{
    let reads = Arc::clone(reads);
    poem::endpoint::make(move |request| handle(Arc::clone(&reads), request))
}

/// What the reads share.
pub(super) struct Reads {
    pub(super) state: Arc<State>,
    pub(super) cached: Cached,
    /// Whether the counters answer.
    counters: Standing,
}

impl Reads {
    fn new(state: Arc<State>) -> Self {
        let cached = Cached::new(
            Arc::clone(&state.parts.cache),
            state.settings.cache_ttl,
            state.settings.answer_timeout,
        );
        Reads { cached, counters: Standing::new("counters"), state }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.state.parts.clock.now()
    }

    /// Lets pass who may read; asks for a token only where one is needed.
    pub(super) async fn admit(&self, request: &Request) -> Result<(), Problem> {
        if self.state.settings.reads_need_token {
            self.identify(request).await?;
        }
        Ok(())
    }

    /// Who asks.
    pub(super) async fn identify(&self, request: &Request) -> Result<Identity, Problem> {
        self.state.identify(request).await
    }

    /// Waits until what `after` names can be read.
    pub(super) async fn visible(&self, after: Option<Position>) -> Result<(), Problem> {
        let Some(position) = after else { return Ok(()) };
        let deadline = self.state.settings.after_deadline;
        let begun = Instant::now();
        let visibility = &self.state.parts.visibility;
        match timeout(deadline, visibility.wait(position)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::Invalid => {
                Err(Problem::invalid(error.to_string()).field("after"))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                // What can be read has been without that write for at least as long as was waited.
                let waited = begun.elapsed();
                let age = visibility.age().map_or(waited, |age| age.max(waited));
                let detail = format!("{position} is not visible yet; ask again, or without `after`");
                Err(Problem::not_yet_visible(detail).age(age).retry_after(Duration::from_secs(1)))
            }
        }
    }

    /// What a backend answers, in time.
    pub(super) async fn ask<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T, Problem> {
        match timeout(self.state.settings.answer_timeout, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                tracing::warn!("a backend takes too long to answer");
                let wait = Duration::from_secs(1);
                Err(Problem::unavailable("a backend takes too long to answer").retry_after(wait))
            }
        }
    }

    /// What the counters answer; `None` where there are none, or while they cannot.
    pub(super) async fn count<'a, T, F>(&'a self, call: impl FnOnce(&'a dyn Counts) -> F) -> Option<T>
    where
        F: Future<Output = Result<T>> + 'a,
    {
        let counters = self.state.parts.counters.as_deref()?;
        self.counters.ask(self.state.settings.answer_timeout, call(counters)).await
    }

    /// A historical answer. With `fresh`, what is cached is not believed, but replaced.
    pub(super) async fn history<A: Serialize>(
        &self,
        key: String,
        fresh: bool,
        ask: impl Future<Output = Result<A, Problem>> + Send,
    ) -> Result<Bytes, Problem> {
        let fill = async { json(&ask.await?) };
        if fresh { self.cached.refresh(&key, fill).await } else { self.cached.find(key, fill).await }
    }
}

/// The post that the path names.
pub(super) fn post_of(request: &Request) -> Result<PostId, Problem> {
    let text = request.raw_path_param("id").unwrap_or_default();
    PostId::new(text).map_err(|e| Problem::invalid(format!("`id` {e}")).field("id"))
}

/// `value` as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<Bytes, Problem> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|e| Problem::internal(format!("an answer cannot be written as JSON: {e}")))
}

/// An answer that anybody may keep.
pub(super) fn answer(json: Bytes) -> Response {
    Response::builder().status(StatusCode::OK).content_type("application/json").body(json)
}

/// An answer for one reader only.
pub(super) fn private(json: Bytes) -> Response {
    let mut answer = answer(json);
    let no_store = poem::http::HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, no_store);
    answer
}
