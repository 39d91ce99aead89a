//! The follower's lease.

use std::time::Duration;

use feedkit_core::lease::Lease;
use feedkit_core::{AlertLog, Clock, ErrorKind, Result, Timestamp};
use tokio::sync::watch;

/// The lease as this process knows it. The alert log decides at each write whether it is still
/// valid.
#[derive(Debug)]
pub(crate) struct Tenure {
    owner: String,
    ttl: Duration,
    lease: Option<Lease>,
    /// When the lease was last asked for, by this process's clock. The lease's own end is a time by
    /// the clock of the alert log.
    asked: Timestamp,
    shown: watch::Sender<Option<Lease>>,
}

impl Tenure {
    pub(crate) fn new(owner: String, ttl: Duration) -> Self {
        Tenure { owner, ttl, lease: None, asked: Timestamp::EPOCH, shown: watch::Sender::new(None) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Lease>> {
        self.shown.subscribe()
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Takes the lease if it is free.
    pub(crate) async fn acquire(&mut self, log: &impl AlertLog, clock: &dyn Clock) -> Result<Option<Lease>> {
        let now = clock.now();
        let lease = log.acquire(&self.owner, now, self.ttl).await?;
        self.asked = now;
        self.show(lease.clone());
        Ok(lease)
    }

    /// The lease, renewed if a third of its time has passed.
    ///
    /// It does no harm if the log cannot be reached for a moment. It refuses writes under a lease
    /// that another process has taken.
    pub(crate) async fn renewed(&mut self, log: &impl AlertLog, clock: &dyn Clock) -> Result<Lease> {
        let lease = self.lease.clone().ok_or_else(not_held)?;
        let now = clock.now();
        if !self.is_due(now) {
            return Ok(lease);
        }
        match log.renew(&lease, now, self.ttl).await {
            Ok(renewed) => {
                self.asked = now;
                self.show(Some(renewed.clone()));
                Ok(renewed)
            }
            Err(e) if e.kind() == ErrorKind::Retriable && now < self.asked.saturating_add(self.ttl) => {
                tracing::warn!(error = %e, "could not renew the alert lease; trying again");
                Ok(lease)
            }
            Err(e) => Err(e),
        }
    }

    /// Another process has the lease.
    pub(crate) fn lost(&mut self) {
        self.show(None);
    }

    /// Gives the lease back.
    pub(crate) async fn release(&mut self, log: &impl AlertLog) -> Result<()> {
        let lease = self.lease.take();
        self.show(None);
        match lease {
            Some(lease) => log.release(&lease).await,
            None => Ok(()),
        }
    }

    /// Whether the lease should be renewed: after a third of its time, or if the clock was set back.
    fn is_due(&self, now: Timestamp) -> bool {
        now < self.asked || now.since(self.asked) >= self.ttl / 3
    }

    fn show(&mut self, lease: Option<Lease>) {
        if self.lease.as_ref().map(|l| l.epoch) != lease.as_ref().map(|l| l.epoch) {
            match &lease {
                Some(lease) => {
                    tracing::info!(owner = lease.owner, epoch = lease.epoch, "acquired the alert lease")
                }
                None => tracing::info!(owner = self.owner, "no longer holds the alert lease"),
            }
        }
        self.lease.clone_from(&lease);
        self.shown.send_if_modified(|shown| std::mem::replace(shown, lease.clone()) != lease);
    }
}

/// The error of a call that needs the lease.
pub(crate) fn not_held() -> feedkit_core::Error {
    feedkit_core::Error::fenced(
        "this process does not hold the alert lease, or must recover the alerts first",
    )
}
