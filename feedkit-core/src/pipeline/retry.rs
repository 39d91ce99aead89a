//! Waiting longer and longer between attempts, with jitter.

use std::time::Duration;

use backon::BackoffBuilder;

/// How long to wait between attempts. The wait doubles from `first` to `most`. Jitter adds up to
/// the same time again, so that callers that failed together do not retry together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait, before jitter.
    pub most: Duration,
}

impl Default for Backoff {
    /// From 50 ms to 5 s.
    fn default() -> Self {
        Backoff { first: Duration::from_millis(50), most: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// Starts an endless series of waits.
    pub fn waits(&self) -> Waits {
        let builder = backon::ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.most)
            .with_jitter()
            .without_max_times();
        Waits { backoff: *self, waits: builder.build() }
    }
}

/// One series of waits.
#[derive(Debug)]
pub struct Waits {
    backoff: Backoff,
    waits: backon::ExponentialBackoff,
}

impl Waits {
    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.backoff.most)
    }

    /// Sleeps for the next wait.
    pub async fn sleep(&mut self) {
        tokio::time::sleep(self.next_wait()).await;
    }

    /// Starts again with short waits.
    pub fn reset(&mut self) {
        *self = self.backoff.waits();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(100) };
        let mut waits = backoff.waits();
        let seen: Vec<_> = (0..50).map(|_| waits.next_wait()).collect();
        assert!(seen[0] >= backoff.first && seen[0] <= 2 * backoff.first, "{seen:?}");
        assert!(seen.iter().all(|w| *w <= 2 * backoff.most), "{seen:?}");
        assert!(seen[10..].iter().all(|w| *w >= backoff.most), "{seen:?}");
    }
}
