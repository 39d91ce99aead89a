//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Parts, Settings};

/// What all requests share.
pub(crate) struct State {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    /// Set when the gateway stops: it is not ready any more.
    draining: AtomicBool,
}

impl State {
    pub(crate) fn new(parts: Parts, settings: Settings) -> Self {
        State { parts, settings, draining: AtomicBool::new(false) }
    }

    /// From now on the gateway is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway stops.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
