//! A circuit breaker: a backend that does not answer is left alone, and then tried by one call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Milliseconds after the breaker's start when it is closed.
const CLOSED: u64 = 0;

/// Decides which calls may go to a backend.
///
/// A closed breaker lets every call pass. An open one lets none pass for a time, and after that one
/// at a time, until a call succeeds and [`close`](CircuitBreaker::close) is called.
#[derive(Debug)]
pub struct CircuitBreaker {
    start: Instant,
    /// Milliseconds from `start` until which no call passes, plus one; [`CLOSED`] when all pass.
    open_until: AtomicU64,
    trying: AtomicBool,
}

/// The permission to call the backend. While a breaker is open, one permit exists at a time;
/// another caller may try once it is dropped.
#[derive(Debug)]
#[must_use = "a permit ends when it is dropped"]
pub struct Permit<'a> {
    trying: Option<&'a AtomicBool>,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new()
    }
}

impl CircuitBreaker {
    /// A closed breaker.
    pub fn new() -> Self {
        CircuitBreaker {
            start: Instant::now(),
            open_until: AtomicU64::new(CLOSED),
            trying: AtomicBool::new(false),
        }
    }

    /// Opens the breaker. No call passes for `rest`, and then one at a time.
    pub fn open(&self, rest: Duration) {
        let until = self.elapsed().saturating_add(rest.as_millis() as u64).saturating_add(1);
        self.open_until.store(until, Ordering::Relaxed);
    }

    /// Closes the breaker: all calls pass. Returns whether it was open.
    pub fn close(&self) -> bool {
        // Most calls find it closed: they need not take the cache line from each other.
        self.is_open() && self.open_until.swap(CLOSED, Ordering::Relaxed) != CLOSED
    }

    /// Whether the breaker is open.
    pub fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) != CLOSED
    }

    /// The permission to call the backend; `None` when this caller has to do without.
    pub fn permit(&self) -> Option<Permit<'_>> {
        match self.open_until.load(Ordering::Relaxed) {
            CLOSED => Some(Permit { trying: None }),
            until if self.elapsed() < until - 1 => None,
            // The permit is made only by the caller who won: dropping one gives the turn back.
            _ => (!self.trying.swap(true, Ordering::AcqRel)).then(|| Permit { trying: Some(&self.trying) }),
        }
    }

    fn elapsed(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(trying) = self.trying {
            trying.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_rests_and_then_lets_one_call_pass_at_a_time() {
        let breaker = CircuitBreaker::new();
        let (first, second) = (breaker.permit(), breaker.permit());
        assert!(first.is_some() && second.is_some(), "a closed breaker lets all pass");
        assert!(!breaker.close());

        breaker.open(Duration::from_secs(1));
        assert!(breaker.permit().is_none(), "it rests");
        tokio::time::advance(Duration::from_secs(1)).await;
        let trial = breaker.permit();
        assert!(trial.is_some());
        assert!(breaker.permit().is_none(), "one call at a time");
        drop(trial);
        assert!(breaker.permit().is_some(), "a trial that was given up makes room for another");

        assert!(breaker.close());
        let (first, second) = (breaker.permit(), breaker.permit());
        assert!(first.is_some() && second.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_breaker_without_rest_allows_a_trial_at_once() {
        let breaker = CircuitBreaker::new();
        breaker.open(Duration::ZERO);
        assert!(breaker.is_open());
        let trial = breaker.permit();
        assert!(trial.is_some() && breaker.permit().is_none());
    }
}
