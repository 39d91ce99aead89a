//! What a gateway asks before it takes something in: who is it, may they, and how often.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use governor::middleware::StateInformationMiddleware;
use hashbrown::HashMap;

use crate::forward::forward;
use crate::{Error, Event, Result, Timestamp, UserId};

/// Counts what a key spends.
///
/// # Contract
///
/// - [`spend`](RateLimiter::spend) takes the whole cost or nothing.
/// - A cost that is larger than the whole allowance is refused with no time to wait for.
/// - Keys are independent of each other.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) when the limiter itself is away; the caller decides whether to let
/// pass.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Spends `cost` of what `key` is allowed.
    async fn spend(&self, key: &str, cost: NonZeroU32) -> Result<Spending>;
}

/// What a limiter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    /// Whether the cost was taken.
    pub allowed: bool,
    /// What the key may spend at once.
    pub limit: u32,
    /// What is left now.
    pub remaining: u32,
    /// When refused: how long to wait until this cost is allowed; `None` if it never will be.
    pub retry_after: Option<Duration>,
}

/// Reads a token.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) for a token that is not to be believed, with the reason.
#[async_trait]
pub trait TokenVerifier: Send + Sync + 'static {
    /// Who bears `token`, if it is to be believed at `now`.
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Identity>;
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// Roles, such as `moderator`.
    pub roles: Vec<String>,
    /// Scopes, such as [`WRITE_ANY`].
    pub scopes: Vec<String>,
    /// When the token runs out.
    pub expires_at: Timestamp,
}

/// The scope of those who may write events of any user.
pub const WRITE_ANY: &str = "events:write:any";

/// Says what somebody may do.
///
/// # Contract
///
/// Answers from the identity and the object alone, at once.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `who` may send this event.
    fn may_send(&self, who: &Identity, event: &Event) -> bool;

    /// Whether `who` may listen to what is told to `audience`.
    fn may_listen(&self, who: &Identity, audience: &crate::notification::Audience) -> bool;
}

/// Users act for themselves and hear what concerns them; [`WRITE_ANY`] acts for all; roles hear what is told them.
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

/// A limiter for one process (GCRA, by the `governor` crate): `limit` at once, and as many again over `period`.
pub struct LocalRateLimiter {
    limiter: governor::DefaultKeyedRateLimiter<String, StateInformationMiddleware>,
    limit: NonZeroU32,
}

impl LocalRateLimiter {
    /// Allows each key `limit` for every `period`.
    pub fn new(limit: NonZeroU32, period: Duration) -> Result<Self> {
        let quota = governor::Quota::with_period(period / limit.get())
            .ok_or_else(|| Error::invalid(format!("a rate limit's period of {period:?} is too short")))?
            .allow_burst(limit);
        let limiter = governor::RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Ok(LocalRateLimiter { limiter, limit })
    }

    /// Forgets keys that have all their allowance back. Call it now and then.
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
                // What has to come in before the cost is covered; the rest is there.
                let missing = wait.as_nanos().div_ceil(interval.as_nanos().max(1));
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                refused(cost.get().saturating_sub(missing), Some(wait))
            }
            Err(_) => refused(0, None),
        })
    }
}

/// Knows a fixed set of tokens. For tests and trials.
#[derive(Debug, Clone, Default)]
pub struct StaticTokens(HashMap<String, Identity>);

impl StaticTokens {
    /// Each token with who bears it.
    pub fn new(tokens: impl IntoIterator<Item = (String, Identity)>) -> Self {
        StaticTokens(tokens.into_iter().collect())
    }
}

#[async_trait]
impl TokenVerifier for StaticTokens {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Identity> {
        let identity = self.0.get(token).ok_or_else(|| Error::invalid("the token is not known"))?;
        if identity.expires_at <= now {
            return Err(Error::invalid(format!("the token ran out at {}", identity.expires_at)));
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
