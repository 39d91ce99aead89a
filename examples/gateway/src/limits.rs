//! Rate limits that all gateways share.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::LocalRateLimiter;
use feedkit_core::{RateLimiter, Result};
use feedkit_http::parts::Limits;
use feedkit_server::gateway::WRITE_ANY_FACTOR;
use feedkit_store::redis::{FallbackLimiter, Redis};

const MINUTE: Duration = Duration::from_secs(60);

/// Limiters of `a_minute` events, shared through Redis. There are none if `a_minute` is 0. With
/// `fall_back` each gateway applies the limits by itself while Redis is away.
pub fn limits(redis: &Redis, a_minute: u32, fall_back: bool) -> Result<(Limits, Forgetful)> {
    let mut forgetful = Forgetful::default();
    let mut limits = Limits::default();
    let Some(usual) = NonZeroU32::new(a_minute) else { return Ok((limits, forgetful)) };
    let many = usual.saturating_mul(WRITE_ANY_FACTOR);
    let mut limiter = |limit| -> Result<Option<Arc<dyn RateLimiter>>> {
        let shared = redis.rate_limiter(limit, MINUTE)?;
        if !fall_back {
            return Ok(Some(Arc::new(shared)));
        }
        let local = Arc::new(LocalRateLimiter::new(limit, MINUTE)?);
        forgetful.0.push(local.clone());
        Ok(Some(Arc::new(FallbackLimiter::new(shared, local))))
    };
    limits.user = limiter(usual)?;
    limits.address = limiter(usual)?;
    limits.write_any = limiter(many)?;
    Ok((limits, forgetful))
}

/// The limiters of this process.
#[derive(Default)]
pub struct Forgetful(Vec<Arc<LocalRateLimiter>>);

impl Forgetful {
    /// Removes the keys whose allowance is full again. Call it now and then; otherwise memory grows
    /// with every key.
    pub fn forget_idle(&self) {
        self.0.iter().for_each(|limiter| limiter.forget_idle());
    }
}
