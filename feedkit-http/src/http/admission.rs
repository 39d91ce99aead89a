//! Admission of writes: rate limits, and the limit of events that wait for the log.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::allowance::Allowance;
use super::{Caller, Metrics};
use crate::Problem;
use crate::problem::Seldom;
use crate::state::State;
use feedkit_core::RateLimiter;
use feedkit_core::access::{Identity, WRITE_ANY};

/// When to try again after there was no room. The log acknowledges waiting events sooner than this.
const NO_ROOM: Duration = Duration::from_secs(1);

impl State {
    /// Spends the cost of `events` writes from the allowance of this user and address.
    ///
    /// The user's limiter comes first. A user above that limit spends nothing of the address's
    /// allowance.
    ///
    /// # Errors
    ///
    /// 429 when all of the writes are refused; 503 when a limiter does not answer and
    /// [`pass_when_away`](crate::parts::Limits::pass_when_away) is not set.
    pub(crate) async fn spend(&self, who: &Identity, caller: &Caller, events: usize) -> Result<(), Problem> {
        let limits = &self.parts.limits;
        let cost = u32::try_from(events).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        if who.scopes.iter().any(|scope| scope == WRITE_ANY) {
            if let Some(limiter) = &limits.write_any {
                let left = self.ask(&**limiter, "write_any", who.user.as_str(), cost, caller).await?;
                left.into_iter().for_each(|left| caller.allowed(left));
            }
            return Ok(());
        }
        let mut tightest = None;
        if let Some(limiter) = &limits.user {
            tightest = self.ask(&**limiter, "user", who.user.as_str(), cost, caller).await?;
        }
        if let Some(limiter) = &limits.address {
            let left = self.ask(&**limiter, "address", &caller.network(), cost, caller).await?;
            tightest = tightest.into_iter().chain(left).min_by_key(|allowance| allowance.remaining);
        }
        tightest.into_iter().for_each(|left| caller.allowed(left));
        Ok(())
    }

    /// Asks one limiter; `None` when it does not answer and writes pass in that case.
    async fn ask(
        &self,
        limiter: &dyn RateLimiter,
        name: &'static str,
        key: &str,
        cost: NonZeroU32,
        caller: &Caller,
    ) -> Result<Option<Allowance>, Problem> {
        static AWAY: Seldom = Seldom::new();
        // Limiters may share a store.
        let key = format!("{name}:{key}");
        let spending = match self.in_time("the limiter", limiter.spend(&key, cost)).await {
            Ok(spending) => spending,
            Err(error) => {
                self.metrics.limiter_failures.inc();
                if AWAY.due() {
                    tracing::warn!(?error, limiter = name, "a rate limiter is away");
                }
                if self.parts.limits.pass_when_away {
                    return Ok(None);
                }
                let problem = Problem::unavailable("the rate limiter does not answer, so writes are refused");
                return Err(problem.retry_after(NO_ROOM));
            }
        };
        if spending.allowed {
            return Ok(Some(spending.into()));
        }
        self.metrics.limited(name);
        self.metrics.rejected("rate_limited", u64::from(cost.get()));
        caller.allowed(spending.into());
        let limit = spending.limit;
        Err(match spending.retry_after {
            Some(wait) => {
                Problem::rate_limited(format!("{cost} more events would exceed the limit of {limit}"))
                    .retry_after(wait)
            }
            None => Problem::rate_limited(format!(
                "a batch of {cost} events is larger than the limit of {limit}; send fewer events at once"
            )),
        })
    }

    /// Reserves room for `events` to wait for the log.
    ///
    /// # Errors
    ///
    /// 503, at once, when there is no room.
    pub(crate) fn admit(&self, events: usize) -> Result<Admitted<'_>, Problem> {
        let permit = u32::try_from(events).ok().and_then(|n| self.in_flight.try_acquire_many(n).ok());
        let Some(_permit) = permit else {
            self.metrics.rejected("overloaded", events as u64);
            return Err(Problem::unavailable("too many events wait for the log").retry_after(NO_ROOM));
        };
        self.metrics.in_flight.add(events as i64);
        Ok(Admitted { _permit, metrics: &self.metrics, events })
    }
}

/// Room for events that wait for the log. Dropping it gives the room back.
pub(crate) struct Admitted<'a> {
    _permit: SemaphorePermit<'a>,
    metrics: &'a Metrics,
    events: usize,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.sub(self.events as i64);
    }
}
