//! Backends that a read can do without: the counters, and a cache that is shared.

use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use feedkit_core::Result;

/// How long a backend that did not answer in time is left alone, so that not every read waits for it.
const REST: Duration = Duration::from_secs(1);

/// Whether such a backend answers; every change is logged, once.
pub(super) struct Standing {
    name: &'static str,
    away: AtomicBool,
    /// Milliseconds from `start` until which it is left alone; 0 when it is not.
    rest_until: AtomicU64,
    start: Instant,
}

impl Standing {
    pub(super) fn new(name: &'static str) -> Self {
        Standing { name, away: AtomicBool::new(false), rest_until: AtomicU64::new(0), start: Instant::now() }
    }

    /// What the backend answers; `None` when it does not, or not within `limit`.
    pub(super) async fn ask<T>(&self, limit: Duration, call: impl Future<Output = Result<T>>) -> Option<T> {
        if self.rests() {
            return None;
        }
        match timeout(limit, call).await {
            Ok(Ok(answer)) => {
                self.rest_until.store(0, Ordering::Relaxed);
                if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the {} answer again", self.name);
                }
                Some(answer)
            }
            Ok(Err(error)) => self.fails(&error),
            Err(_) => {
                self.rest_until.store(self.elapsed() + REST.as_millis() as u64, Ordering::Relaxed);
                self.fails(&format_args!("no answer within {limit:?}"))
            }
        }
    }

    fn fails<T>(&self, why: &dyn Display) -> Option<T> {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %why, "the {} do not answer; reads do without", self.name);
        }
        None
    }

    /// Whether it is left alone now. When a rest is over, one caller finds so, and the others rest on.
    fn rests(&self) -> bool {
        let until = self.rest_until.load(Ordering::Relaxed);
        if until == 0 {
            return false;
        }
        let now = self.elapsed();
        let next = now + REST.as_millis() as u64;
        now < until
            || self.rest_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    fn elapsed(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use feedkit_core::Error;

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_left_alone_for_a_while_and_tried_by_one() {
        let standing = Standing::new("counters");
        let limit = Duration::from_secs(5);
        let hangs = || standing.ask(limit, std::future::pending::<Result<u32>>());
        let well = || standing.ask(limit, async { Ok(1) });
        assert_eq!(well().await, Some(1));
        assert_eq!(hangs().await, None);
        assert_eq!(well().await, None, "it rests");
        tokio::time::advance(REST).await;
        let (first, second) = tokio::join!(hangs(), well());
        assert_eq!((first, second), (None, None), "while one tries, the others do without");
        tokio::time::advance(REST).await;
        assert_eq!(well().await, Some(1));
        assert_eq!(well().await, Some(1));
    }

    #[tokio::test]
    async fn one_that_fails_at_once_is_asked_again_at_once() {
        let standing = Standing::new("counters");
        let limit = Duration::from_secs(5);
        assert_eq!(standing.ask::<u32>(limit, async { Err(Error::retriable("rebuilding")) }).await, None);
        assert_eq!(standing.ask(limit, async { Ok(1) }).await, Some(1));
    }
}
