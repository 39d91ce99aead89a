//! What a gateway asks before it accepts a request: who is the caller, what may the caller do, and
//! how often.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use governor::middleware::StateInformationMiddleware;
use hashbrown::HashMap;

use crate::forward::forward;
use crate::{Error, Event, Result, Timestamp, UserId};

/// Limits how much each key may spend.
///
/// # Contract
///
/// - [`spend`](RateLimiter::spend) takes the whole cost or nothing.
/// - A cost that exceeds the limit is refused, and `retry_after` is `None`.
/// - Keys are independent of each other.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) if the limiter itself is unavailable. The caller
/// decides whether to let the request pass.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Takes `cost` from the allowance of `key`.
    async fn spend(&self, key: &str, cost: NonZeroU32) -> Result<Spending>;
}

/// The answer of a rate limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    /// Whether the limiter took the cost.
    pub allowed: bool,
    /// The maximum that the key may spend at once.
    pub limit: u32,
    /// How much the key may still spend now.
    pub remaining: u32,
    /// After a refusal: how long to wait until this cost is allowed. `None` means that it will
    /// never be allowed.
    pub retry_after: Option<Duration>,
}

/// Verifies tokens.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) for a token that is not valid, with the reason.
#[async_trait]
pub trait TokenVerifier: Send + Sync + 'static {
    /// Returns the identity in `token`, if the token is valid at `now`.
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Identity>;
}

/// The identity of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The roles of the user, such as `moderator`.
    pub roles: Vec<String>,
    /// The scopes of the token, such as [`WRITE_ANY`].
    pub scopes: Vec<String>,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// The scope that allows a caller to write events of any user.
pub const WRITE_ANY: &str = "events:write:any";

/// Decides what a caller may do.
///
/// # Contract
///
/// The answer depends on the identity and the object alone, and is immediate.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `who` may send `event`.
    fn may_send(&self, who: &Identity, event: &Event) -> bool;

    /// Whether `who` may receive notifications for `audience`.
    fn may_listen(&self, who: &Identity, audience: &crate::notification::Audience) -> bool;
}

/// Allows users to act for themselves and to receive their own notifications. A caller with the
/// scope [`WRITE_ANY`] may act for any user. A caller with a role receives the notifications for
/// that role.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByOwnership;

impl Authorizer for ByOwnership {
    fn may_send(&self, who: &Identity, event: &Event) -> bool {
        who.user == event.user || who.scopes.iter().any(|s| s == WRITE_ANY)
    }

    fn may_listen(&self, who: &Identity, audience: &crate::notification::Audience) -> bool {
        use crate::notification::Audience;
        match audience {
            Audience::User(user) => who.user == *user,
            Audience::Role(role) => who.roles.contains(role),
            Audience::Post(_) | Audience::All => true,
        }
    }
}

/// A rate limiter for one process. Each key may spend `limit` at once, and regains `limit` over
/// each `period`. It uses the algorithm GCRA of the crate `governor`.
pub struct LocalRateLimiter {
    limiter: governor::DefaultKeyedRateLimiter<String, StateInformationMiddleware>,
    limit: NonZeroU32,
}

impl LocalRateLimiter {
    /// Creates a limiter that allows each key `limit` per `period`.
    pub fn new(limit: NonZeroU32, period: Duration) -> Result<Self> {
        let quota = governor::Quota::with_period(period / limit.get())
            .ok_or_else(|| {
                Error::invalid(format!("the period {period:?} is too short for a limit of {limit}"))
            })?
            .allow_burst(limit);
        let limiter = governor::RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Ok(LocalRateLimiter { limiter, limit })
    }

    /// Drops the keys whose allowance is complete again. Call it from time to time.
    pub fn forget_idle(&self) {
        self.limiter.retain_recent();
    }
}

#[async_trait]
impl RateLimiter for LocalRateLimiter {
    async fn spend(&self, key: &str, cost: NonZeroU32) -> Result<Spending> {
        use governor::clock::Clock as _;
        let limit = self.limit.get();
        let refused = |remaining, retry_after| Spending { allowed: false, limit, remaining, retry_after };
        Ok(match self.limiter.check_key_n(&key.to_owned(), cost) {
            Ok(Ok(state)) => Spending {
                allowed: true,
                limit,
                remaining: state.remaining_burst_capacity(),
                retry_after: None,
            },
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                let interval = not_until.quota().replenish_interval();
                // How much must be regained before the cost is covered. The rest is available.
                let missing = wait.as_nanos().div_ceil(interval.as_nanos().max(1));
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                refused(cost.get().saturating_sub(missing), Some(wait))
            }
            Err(_) => refused(0, None),
        })
    }
}

/// A fixed set of tokens, for tests and trials.
#[derive(Debug, Clone, Default)]
pub struct StaticTokens(HashMap<String, Identity>);

impl StaticTokens {
    /// Creates the set from pairs of a token and its identity.
    pub fn new(tokens: impl IntoIterator<Item = (String, Identity)>) -> Self {
        StaticTokens(tokens.into_iter().collect())
    }
}

#[async_trait]
impl TokenVerifier for StaticTokens {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Identity> {
        let identity = self.0.get(token).ok_or_else(|| Error::invalid("the token is unknown"))?;
        if identity.expires_at <= now {
            return Err(Error::invalid(format!("the token expired at {}", identity.expires_at)));
        }
        Ok(identity.clone())
    }
}

forward!(RateLimiter {
    async fn spend(&self, key: &str, cost: NonZeroU32) -> Result<Spending>;
});

forward!(TokenVerifier {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Identity>;
});

macro_rules! forward_authorizer {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<T: Authorizer + ?Sized> Authorizer for $pointer<T> {
            fn may_send(&self, who: &Identity, event: &Event) -> bool {
                (**self).may_send(who, event)
            }
            fn may_listen(&self, who: &Identity, audience: &crate::notification::Audience) -> bool {
                (**self).may_listen(who, audience)
            }
        }
    };
}
forward_authorizer!(Arc);
forward_authorizer!(Box);
