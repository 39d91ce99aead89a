//! A rate limiter that processes share.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::access::{RateLimiter, Spending};
use feedkit_core::{Error, Result};
use redis::Value;

use super::failure::unexpected;
use super::reply;
use super::script::SPEND;
use super::shared::Shared;

/// A [`RateLimiter`] that all users of one Redis share. Each call runs one script, which computes
/// GCRA with the server's clock.
///
/// Its keys expire when the allowance is whole again. It answers within 100 ms, or fails as
/// [`Retriable`](feedkit_core::ErrorKind::Retriable). The first call, which checks the server, may
/// take three times as long. [`FallbackLimiter`](super::FallbackLimiter) handles the failure.
#[derive(Debug, Clone)]
pub struct RedisRateLimiter {
    shared: Arc<Shared>,
    limit: NonZeroU32,
    period: Duration,
    patience: Duration,
}

/// How long a request waits for the limiter.
const PATIENCE: Duration = Duration::from_millis(100);

impl RedisRateLimiter {
    pub(super) fn new(shared: Arc<Shared>, limit: NonZeroU32, period: Duration) -> Result<Self> {
        if (period / limit.get()).is_zero() {
            return Err(Error::invalid(format!("a rate limit's period of {period:?} is too short")));
        }
        Ok(RedisRateLimiter { shared, limit, period, patience: PATIENCE })
    }

    /// Sets how long an answer may take.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

#[async_trait]
impl RateLimiter for RedisRateLimiter {
    async fn spend(&self, key: &str, cost: NonZeroU32) -> Result<Spending> {
        let limit = self.limit.get();
        let spending = |allowed, remaining, retry_after| Spending { allowed, limit, remaining, retry_after };
        if cost > self.limit {
            return Ok(spending(false, 0, None));
        }
        let key = format!("{}feedkit:limit:{key}", self.shared.options.prefix);
        let period = self.period.as_micros() as u64;
        let arguments = |command: &mut redis::Cmd| {
            command.arg(limit).arg(period).arg(cost.get());
        };
        let answer = self.shared.run_within(&SPEND, &key, self.patience, arguments).await?;
        let Value::Array(parts) = &answer else { return Err(unexpected(SPEND.doing(), &answer)) };
        let number = |place: usize| parts.get(place).and_then(reply::number::<u64>);
        let (Some(allowed), Some(remaining), Some(wait)) = (number(0), number(1), number(2)) else {
            return Err(unexpected(SPEND.doing(), &answer));
        };
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX).min(limit);
        let allowed = allowed == 1;
        Ok(spending(allowed, remaining, (!allowed).then(|| Duration::from_micros(wait.max(1)))))
    }
}
