//! Cached historical answers. While one request looks an answer up, others for the same answer
//! wait.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::optional::Optional;
use crate::Problem;
use feedkit_core::AnswerCache;

/// How long a result stays among the flights. The cache keeps it longer.
const LANDED: Duration = Duration::from_millis(1);

/// A cache with single flight in front of it.
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

    /// The cached answer for `key`, or the result of `fill`. Of concurrent callers for one key, one
    /// runs `fill`, and all share its result, even if that is a problem.
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
            // A flight that has just ended may have stored the answer.
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

    /// Runs `fill` and caches its answer.
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
