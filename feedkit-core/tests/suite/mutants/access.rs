//! Rate limiters and token verifiers with faults.

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;

use feedkit_core::access::{Identity, LocalRateLimiter, RateLimiter, Spending, StaticTokens, TokenVerifier};
use feedkit_core::{Result, Timestamp};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantLimiter`].
    LimiterFault {
        /// Takes part of a cost that it refuses.
        TakesPart,
        /// Has one limit for all keys.
        OneKey,
        /// Returns a time to wait for a cost that will never be allowed.
        PromisesTheImpossible,
        /// Returns no time to wait.
        NoTimeToWait,
        /// Allows everything.
        AllowsAll,
        /// Takes one, regardless of the cost.
        IgnoresCost,
    }
}

/// A limiter with one fault.
pub(crate) struct MutantLimiter {
    inner: LocalRateLimiter,
    fault: LimiterFault,
}

impl MutantLimiter {
    /// Creates a limiter with this fault. It allows `limit` per hour.
    pub(crate) fn new(limit: NonZeroU32, fault: LimiterFault) -> Result<Self> {
        Ok(MutantLimiter { inner: LocalRateLimiter::new(limit, Duration::from_secs(3600))?, fault })
    }
}

#[async_trait]
impl RateLimiter for MutantLimiter {
    async fn spend(&self, key: &str, cost: NonZeroU32) -> Result<Spending> {
        let (key, cost) = match self.fault {
            LimiterFault::OneKey => ("all", cost),
            LimiterFault::IgnoresCost => (key, NonZeroU32::MIN),
            _ => (key, cost),
        };
        let spent = self.inner.spend(key, cost).await?;
        Ok(match self.fault {
            LimiterFault::TakesPart if !spent.allowed => {
                self.inner.spend(key, NonZeroU32::MIN).await?;
                spent
            }
            LimiterFault::PromisesTheImpossible if !spent.allowed => {
                Spending { retry_after: spent.retry_after.or(Some(Duration::from_secs(1))), ..spent }
            }
            LimiterFault::NoTimeToWait => Spending { retry_after: None, ..spent },
            LimiterFault::AllowsAll => Spending { allowed: true, retry_after: None, ..spent },
            _ => spent,
        })
    }
}

faults! {
    /// The faults of a [`MutantTokens`].
    TokenFault {
        /// Accepts a token that has expired.
        BelievesExpired,
        /// Accepts a token that only begins like a valid one.
        BelievesPrefix,
        /// Accepts a token in upper or lower case.
        BelievesAnyCase,
        /// Forgets the roles.
        ForgetsRoles,
    }
}

/// A verifier with one fault.
pub(crate) struct MutantTokens {
    good: String,
    inner: StaticTokens,
    fault: TokenFault,
}

impl MutantTokens {
    /// Creates a verifier with this fault. It knows one token.
    pub(crate) fn new(good: &str, identity: Identity, fault: TokenFault) -> Self {
        MutantTokens { good: good.to_owned(), inner: StaticTokens::new([(good.to_owned(), identity)]), fault }
    }
}

#[async_trait]
impl TokenVerifier for MutantTokens {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Identity> {
        let (token, now) = match self.fault {
            TokenFault::BelievesExpired => (token, Timestamp::EPOCH),
            TokenFault::BelievesPrefix if token.starts_with(&self.good) => (self.good.as_str(), now),
            TokenFault::BelievesAnyCase if token.eq_ignore_ascii_case(&self.good) => {
                (self.good.as_str(), now)
            }
            _ => (token, now),
        };
        let identity = self.inner.verify(token, now).await?;
        Ok(match self.fault {
            TokenFault::ForgetsRoles => Identity { roles: Vec::new(), ..identity },
            _ => identity,
        })
    }
}
