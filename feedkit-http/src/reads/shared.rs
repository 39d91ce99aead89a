//! The parts that reads share: who may read, waiting for a write, and calling each backend.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use poem::Request;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::cached::Cached;
use super::optional::Optional;
use crate::Problem;
use crate::answer::encode;
use crate::state::State;
use feedkit_core::access::Identity;
use feedkit_core::{Counts, ErrorKind, Position, PostId, Result, Timestamp};

/// The parts that reads share.
pub(super) struct Reads {
    pub(super) state: Arc<State>,
    pub(super) cached: Cached,
    /// Whether the counters answer.
    counters: Optional,
}

impl Reads {
    pub(super) fn new(state: Arc<State>) -> Self {
        let cached = Cached::new(
            Arc::clone(&state.parts.cache),
            state.options.cache_ttl,
            state.options.answer_timeout,
        );
        Reads { cached, counters: Optional::new("counters"), state }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.state.parts.clock.now()
    }

    /// Admits callers that may read. It verifies a token only where one is needed.
    pub(super) async fn admit(&self, request: &Request) -> Result<(), Problem> {
        if self.state.options.reads_need_token {
            self.identify(request).await?;
        }
        Ok(())
    }

    /// The caller's identity.
    pub(super) async fn identify(&self, request: &Request) -> Result<Identity, Problem> {
        self.state.identify(request).await
    }

    /// Waits until the write that `after` names is visible.
    pub(super) async fn visible(&self, after: Option<Position>) -> Result<(), Problem> {
        let Some(position) = after else { return Ok(()) };
        let deadline = self.state.options.after_deadline;
        let begun = Instant::now();
        let visibility = &self.state.parts.visibility;
        match timeout(deadline, visibility.wait(position)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::Invalid => {
                Err(Problem::invalid(error.to_string()).field("after"))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                // The visible data has lacked that write for at least the time waited.
                let waited = begun.elapsed();
                let age = visibility.age().map_or(waited, |age| age.max(waited));
                let detail = format!("{position} is not visible yet; ask again, or without `after`");
                Err(Problem::not_yet_visible(detail).age(age).retry_after(Duration::from_secs(1)))
            }
        }
    }

    /// The history's answer, within the time-out.
    pub(super) async fn ask<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T, Problem> {
        Ok(self.state.in_time("the history", call).await?)
    }

    /// The counters' answer; `None` without counters, or when they do not answer.
    pub(super) async fn count<'a, T, F>(&'a self, call: impl FnOnce(&'a dyn Counts) -> F) -> Option<T>
    where
        F: Future<Output = Result<T>> + 'a,
    {
        let counters = self.state.parts.counters.as_deref()?;
        self.counters.ask(self.state.options.answer_timeout, call(counters)).await
    }

    /// A historical answer. With `fresh`, a cached answer is replaced.
    pub(super) async fn history<A: Serialize>(
        &self,
        key: String,
        fresh: bool,
        ask: impl Future<Output = Result<A, Problem>> + Send,
    ) -> Result<Bytes, Problem> {
        let fill = async { Ok(encode(&ask.await?)) };
        if fresh { self.cached.refresh(&key, fill).await } else { self.cached.find(key, fill).await }
    }
}

/// The post that the path names.
pub(super) fn post_of(request: &Request) -> Result<PostId, Problem> {
    let text = request.raw_path_param("id").unwrap_or_default();
    PostId::new(text).map_err(|e| Problem::invalid(format!("`id` {e}")).field("id"))
}
