//! What the alert follower tells others.

use std::sync::Arc;

use feedkit_core::lease::Lease;
use tokio::sync::{Notify, watch};

/// Tells whether the follower holds the lease, and when it has written alerts.
#[derive(Debug, Clone)]
pub struct Signals {
    pub(crate) lease: watch::Receiver<Option<Lease>>,
    pub(crate) written: Arc<Notify>,
}

impl Signals {
    /// The lease, while the follower holds it.
    pub fn lease(&self) -> Option<Lease> {
        self.lease.borrow().clone()
    }

    /// Waits until the follower has written alerts since the last call.
    ///
    /// Only one task may wait at a time.
    ///
    /// # Cancellation
    ///
    /// This method is cancel-safe: the next call returns for alerts that were written meanwhile.
    pub async fn written(&self) {
        self.written.notified().await;
    }
}
