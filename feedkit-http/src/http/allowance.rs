//! The numbers of `RateLimit-*` headers.

use std::time::Duration;

use feedkit_core::access::Spending;

/// What limits count over.
const WINDOW: Duration = Duration::from_secs(60);

/// What the answer's head says about rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// What may be spent at once.
    pub(crate) limit: u32,
    /// What is left of it.
    pub(crate) remaining: u32,
    /// When it is all back, or, after a refusal, when the same request would be allowed.
    pub(crate) reset: Duration,
}

impl From<Spending> for Allowance {
    fn from(Spending { limit, remaining, retry_after, .. }: Spending) -> Self {
        let spent = limit.saturating_sub(remaining);
        let reset = retry_after.unwrap_or_else(|| WINDOW.mul_f64(f64::from(spent) / f64::from(limit.max(1))));
        Allowance { limit, remaining, reset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_comes_back_within_the_window() {
        let left = |remaining, retry_after| {
            Allowance::from(Spending { allowed: true, limit: 100, remaining, retry_after }).reset.as_secs()
        };
        assert_eq!(left(100, None), 0);
        assert_eq!(left(50, None), 30);
        assert_eq!(left(0, None), 60);
        assert_eq!(left(3, Some(Duration::from_secs(7))), 7);
    }
}
