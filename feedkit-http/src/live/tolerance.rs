//! Tolerating a source that fails, as the reader of notifications and the reader of counts do.

use std::time::Duration;

use feedkit_core::Error;
use feedkit_core::pipeline::{Backoff, Waits};

/// Shows the trouble with a source, and says how long to wait after each failure in a row.
pub(super) struct Tolerance<F> {
    waits: Waits,
    show: F,
}

impl<F: Fn(Option<String>)> Tolerance<F> {
    /// `show` gets the trouble, or `None` when there is none.
    pub(super) fn new(backoff: Backoff, show: F) -> Self {
        Tolerance { waits: backoff.waits(), show }
    }

    /// An attempt failed. Returns how long to wait before the next one.
    pub(super) fn failed(&mut self, error: &Error) -> Duration {
        (self.show)(Some(error.to_string()));
        self.waits.next_wait()
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        self.waits.reset();
        (self.show)(None);
    }
}
