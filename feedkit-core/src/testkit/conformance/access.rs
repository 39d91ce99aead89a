//! The suites of rate limiters, token verifiers and authorizers.

use std::num::NonZeroU32;

use super::sentence::Sentence;
use crate::access::{Authorizer, Identity, RateLimiter, TokenVerifier};
use crate::notification::Audience;
use crate::{ErrorKind, Event, Timestamp};

/// Tests the contract of [`RateLimiter`]. Each call of `fresh` returns a limiter that allows the
/// given number at once, and regains it over an hour or more.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn rate_limiter<R: RateLimiter>(fresh: impl AsyncFn(NonZeroU32) -> R) {
    let cost = |n| NonZeroU32::new(n).expect("costs here are above zero");
    let limiter = fresh(cost(10)).await;
    let says = Sentence("spend takes the cost, and returns what is left");
    let spent = says.ok("spend", limiter.spend("a", cost(3)).await);
    says.equal("spending", (spent.allowed, spent.limit, spent.remaining), (true, 10, 7));
    let spent = says.ok("spend", limiter.spend("a", cost(4)).await);
    says.equal("spending", (spent.allowed, spent.limit, spent.remaining), (true, 10, 3));
    says.equal("time to wait", spent.retry_after, None);

    let says = Sentence("spend takes the whole cost or nothing");
    let refused = says.ok("spend", limiter.spend("a", cost(4)).await);
    says.equal("refused", (refused.allowed, refused.limit), (false, 10));
    says.holds(refused.retry_after.is_some_and(|d| !d.is_zero()), format_args!("the answer is {refused:?}"));
    let rest = says.ok("spend", limiter.spend("a", cost(3)).await);
    says.equal("the rest", (rest.allowed, rest.remaining), (true, 0));
    says.equal("one more", says.ok("spend", limiter.spend("a", cost(1)).await).allowed, false);

    let says = Sentence("keys are independent of each other");
    let other = says.ok("spend", limiter.spend("b", cost(10)).await);
    says.equal("another key", (other.allowed, other.remaining), (true, 0));

    let says = Sentence("a cost that exceeds the limit is refused, and retry_after is None");
    let never = says.ok("spend", limiter.spend("c", cost(11)).await);
    says.equal("refused", (never.allowed, never.retry_after), (false, None));
    says.equal("allowance", says.ok("spend", limiter.spend("c", cost(10)).await).allowed, true);

    let says = Sentence("calls of spend at the same time do not exceed the limit");
    let limiter = fresh(cost(10)).await;
    let mut allowed = 0;
    for _ in 0..8 {
        let (a, b) = tokio::join!(limiter.spend("d", cost(1)), limiter.spend("d", cost(1)));
        allowed += u32::from(says.ok("spend", a).allowed) + u32::from(says.ok("spend", b).allowed);
    }
    says.equal("allowed of sixteen", allowed, 10);
}

/// Tests the contract of [`TokenVerifier`]. `good` is a valid token of `identity`, and `bad` are
/// tokens that are not valid.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn token_verifier(
    verifier: &dyn TokenVerifier,
    good: &str,
    identity: &Identity,
    bad: impl IntoIterator<Item = String>,
) {
    let says = Sentence("a valid token gives the identity in it");
    let before = Timestamp::from_millis(identity.expires_at.as_millis() - 60_000);
    says.equal("identity", &says.ok("verify", verifier.verify(good, before).await), identity);
    let says = Sentence("a token that has expired is invalid");
    let after = Timestamp::from_millis(identity.expires_at.as_millis() + 3_600_000);
    says.fails("verify", verifier.verify(good, after).await, ErrorKind::Invalid);
    let says = Sentence("a token that is not valid fails as invalid, with the reason");
    let cut = good.get(..good.len().saturating_sub(1)).unwrap_or_default().to_owned();
    for token in bad.into_iter().chain([String::new(), cut, format!("{good}x"), "\0".to_owned()]) {
        match verifier.verify(&token, before).await {
            Err(e) if e.kind() == ErrorKind::Invalid && !e.to_string().is_empty() => {}
            other => says.broken(format_args!("{token:?} gives {other:?}")),
        }
    }
}

/// Tests the contract of [`Authorizer`]: the same question always has the same answer.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub fn authorizer(
    authorizer: &dyn Authorizer,
    cases: &[(Identity, Event, bool)],
    heard: &[(Identity, Audience, bool)],
) {
    let says = Sentence("the answer of an authorizer depends on the identity and the object alone");
    for _ in 0..3 {
        for (who, event, expected) in cases {
            let what = format!("may {:?} send {:?} of {:?}", who.user, event.kind, event.user);
            says.equal(&what, authorizer.may_send(who, event), *expected);
        }
        for (who, audience, expected) in heard {
            let what = format!("may {:?} listen to {audience:?}", who.user);
            says.equal(&what, authorizer.may_listen(who, audience), *expected);
        }
    }
}
