//! A clock that moves only when a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::{Clock, Timestamp};

/// A clock that stands still until a test moves it. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use feedkit_core::testkit::ManualClock;
/// use feedkit_core::{Clock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::EPOCH);
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(clock.clone().now(), Timestamp::from_millis(2000));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Creates a clock that shows `time`.
    pub fn at(time: Timestamp) -> Self {
        ManualClock(Arc::new(AtomicI64::new(time.as_millis())))
    }

    /// Sets the clock to `time`, which may be earlier than the time shown now.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_millis(), Ordering::SeqCst);
    }

    /// Moves the clock forward. `by` is rounded down to milliseconds.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}
