//! The numbers of `RateLimit-*` headers.

use std::time::Duration;

use feedkit_core::access::Spending;

/// The window of the limits.
const WINDOW: Duration = Duration::from_secs(60);

/// The values of the `RateLimit-*` headers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// The number of events that may be spent at once.
    pub(crate) limit: u32,
    /// How many of them are left.
    pub(crate) remaining: u32,
    /// When the whole limit is available again; after a refusal, when the same request would pass.
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
