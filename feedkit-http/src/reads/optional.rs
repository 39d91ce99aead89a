//! Backends that a read can do without: the counters, and a cache that is shared.

use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::CircuitBreaker;
use feedkit_core::Result;

/// How long a backend that did not answer in time is left alone, so that not every read waits for
/// it.
const REST: Duration = Duration::from_secs(1);

/// A backend that reads can do without. Each change between answering and not answering is logged
/// once.
pub(super) struct Optional {
    name: &'static str,
    away: AtomicBool,
    /// Opened by a call that hangs. A call that fails at once costs nothing, so it does not open
    /// it.
    breaker: CircuitBreaker,
}

impl Optional {
    /// A backend that answers. Log lines call it `the NAME`, a plural.
    pub(super) fn new(name: &'static str) -> Self {
        Optional { name, away: AtomicBool::new(false), breaker: CircuitBreaker::new() }
    }

    /// The backend's answer; `None` when it fails, does not answer within `limit`, or is left
    /// alone.
    pub(super) async fn ask<T>(&self, limit: Duration, call: impl Future<Output = Result<T>>) -> Option<T> {
        let _permit = self.breaker.permit()?;
        match timeout(limit, call).await {
            Ok(Ok(answer)) => {
                self.breaker.close();
                if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the {} answer again", self.name);
                }
                Some(answer)
            }
            Ok(Err(error)) => self.fails(&error),
            Err(_) => {
                self.breaker.open(REST);
                self.fails(&format_args!("no answer within {limit:?}"))
            }
        }
    }

    fn fails<T>(&self, why: &dyn Display) -> Option<T> {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %why, "the {} do not answer; reads continue without them", self.name);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use feedkit_core::Error;

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_left_alone_for_a_while_and_tried_by_one() {
        let optional = Optional::new("counters");
        let limit = Duration::from_secs(5);
        let hangs = || optional.ask(limit, std::future::pending::<Result<u32>>());
        let well = || optional.ask(limit, async { Ok(1) });
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
        let optional = Optional::new("counters");
        let limit = Duration::from_secs(5);
        assert_eq!(optional.ask::<u32>(limit, async { Err(Error::retriable("rebuilding")) }).await, None);
        assert_eq!(optional.ask(limit, async { Ok(1) }).await, Some(1));
    }
}
