use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use feedkit_core::Result;
use feedkit_core::access::{RateLimiter, Spending};

/// Asks a shared limiter, and one of this process while that is away.
///
/// What was spent at one is not known to the other: after a change a key may have its allowance again. For a second
/// after a failure the shared one is not asked, so that requests do not wait for it one after another.
#[derive(Debug)]
pub struct FallbackLimiter<S, L> {
    shared: S,
    local: L,
    started: Instant,
    /// Milliseconds after `started` from which the shared limiter is asked again.
    again: AtomicU64,
}

/// How long the shared limiter is left alone after a failure.
const COOLDOWN: Duration = Duration::from_secs(1);

impl<S: RateLimiter, L: RateLimiter> FallbackLimiter<S, L> {
    /// Asks `shared` as long as it answers.
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
                        tracing::warn!(%error, "the shared rate limiter is away: each process limits for itself");
                    }
                }
                answer => {
                    if self.again.swap(0, Ordering::Relaxed) != 0 {
                        tracing::info!("the shared rate limiter is back");
                    }
                    return answer;
                }
            }
        }
        self.local.spend(key, cost).await
    }
}
