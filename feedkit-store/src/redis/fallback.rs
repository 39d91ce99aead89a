//! A rate limiter for the time when Redis cannot be reached.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use feedkit_core::Result;
use feedkit_core::access::{RateLimiter, Spending};

/// A limiter that asks a shared limiter, and a local one while the shared one cannot be reached.
///
/// Neither knows what was spent at the other: when it switches, each key may have its whole
/// allowance again. After a failure it does not ask the shared limiter for a second, so that
/// requests do not wait for it one after another.
#[derive(Debug)]
pub struct FallbackLimiter<S, L> {
    shared: S,
    local: L,
    started: Instant,
    /// When to ask the shared limiter again, in milliseconds after `started`.
    again: AtomicU64,
}

/// How long the shared limiter is not asked after a failure.
const COOLDOWN: Duration = Duration::from_secs(1);

impl<S: RateLimiter, L: RateLimiter> FallbackLimiter<S, L> {
    /// A limiter that asks `shared` while it answers.
    pub fn new(shared: S, local: L) -> Self {
        FallbackLimiter { shared, local, started: Instant::now(), again: AtomicU64::new(0) }
    }

    fn millis(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

#[async_trait]
impl<S: RateLimiter, L: RateLimiter> RateLimiter for FallbackLimiter<S, L> {
    async fn spend(&self, key: &str, cost: NonZeroU32) -> Result<Spending> {
        if self.millis() >= self.again.load(Ordering::Relaxed) {
            match self.shared.spend(key, cost).await {
                Err(error) if error.is_retriable() => {
                    let before =
                        self.again.swap(self.millis() + COOLDOWN.as_millis() as u64, Ordering::Relaxed);
                    if before == 0 {
                        tracing::warn!(%error, "the shared rate limiter cannot be reached; each process limits by itself");
                    }
                }
                answer => {
                    if self.again.swap(0, Ordering::Relaxed) != 0 {
                        tracing::info!("the shared rate limiter can be reached again");
                    }
                    return answer;
                }
            }
        }
        self.local.spend(key, cost).await
    }
}
