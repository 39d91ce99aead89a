//! Historical answers, kept for a while; while one is looked up, others that want it wait for it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::optional::Optional;
use crate::Problem;
use feedkit_core::AnswerCache;

/// How long a flight's result stays with the flights themselves; keeping it longer is the cache's business.
const LANDED: Duration = Duration::from_millis(1);

/// A cache with single flight before it.
pub(super) struct Cached {
    cache: Arc<dyn AnswerCache>,
    optional: Optional,
    flights: moka::future::Cache<String, Bytes>,
    ttl: Duration,
    answer_timeout: Duration,
}

impl Cached {
    pub(super) fn new(cache: Arc<dyn AnswerCache>, ttl: Duration, answer_timeout: Duration) -> Self {
        let flights = moka::future::Cache::builder().max_capacity(1024).time_to_live(LANDED).build();
        Cached { cache, optional: Optional::new("cached answers"), flights, ttl, answer_timeout }
    }

    /// The answer kept under `key`, or what `fill` gives. Of many that want one at the same time one fills, and
    /// all share what it gets, be it a problem.
    pub(super) async fn find(
        &self,
        key: String,
        fill: impl Future<Output = Result<Bytes, Problem>> + Send,
    ) -> Result<Bytes, Problem> {
        if self.ttl.is_zero() {
            return fill.await;
        }
        if let Some(answer) = self.kept(&key).await {
            return Ok(answer);
        }
        let flight = async {
            // One that has just landed may have left it.
            if let Some(answer) = self.kept(&key).await {
                return Ok(answer);
            }
            self.refresh(&key, fill).await
        };
        self.flights
            .try_get_with_by_ref(&key, flight)
            .await
            .map_err(|problem: Arc<Problem>| (*problem).clone())
    }

    /// What `fill` gives, and is kept from now on.
    pub(super) async fn refresh(
        &self,
        key: &str,
        fill: impl Future<Output = Result<Bytes, Problem>> + Send,
    ) -> Result<Bytes, Problem> {
        let answer = fill.await?;
        if !self.ttl.is_zero() {
            self.optional.ask(self.answer_timeout, self.cache.put(key, answer.clone(), self.ttl)).await;
        }
        Ok(answer)
    }

    async fn kept(&self, key: &str) -> Option<Bytes> {
        self.optional.ask(self.answer_timeout, self.cache.get(key)).await.flatten()
    }
}
