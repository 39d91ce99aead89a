use std::time::Duration;

use feedkit_core::lease::Lease;
use feedkit_core::{AlertLog, Clock, ErrorKind, Result, Timestamp};
use tokio::sync::watch;

/// The lease as this process knows it. Whether it is still valid, the alert log decides at each write.
#[derive(Debug)]
pub(crate) struct Tenure {
    owner: String,
    ttl: Duration,
    lease: Option<Lease>,
    shown: watch::Sender<Option<Lease>>,
}

impl Tenure {
    pub(crate) fn new(owner: String, ttl: Duration) -> Self {
        Tenure { owner, ttl, lease: None, shown: watch::Sender::new(None) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Lease>> {
        self.shown.subscribe()
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Takes the lease, if it is to be had.
    pub(crate) async fn acquire(&mut self, log: &impl AlertLog, clock: &dyn Clock) -> Result<Option<Lease>> {
        let lease = log.acquire(&self.owner, clock.now(), self.ttl).await?;
        self.show(lease.clone());
        Ok(lease)
    }

    /// The lease, renewed if a third of its time is gone. That the log is away for a moment does no harm: it
    /// refuses what is written under a lease that another has taken.
    pub(crate) async fn renewed(&mut self, log: &impl AlertLog, clock: &dyn Clock) -> Result<Lease> {
        let lease = self.lease.clone().ok_or_else(not_held)?;
        let now = clock.now();
        if !self.is_due(&lease, now) {
            return Ok(lease);
        }
        match log.renew(&lease, now, self.ttl).await {
            Ok(renewed) => {
                self.show(Some(renewed.clone()));
                Ok(renewed)
            }
            Err(e) if e.kind() == ErrorKind::Retriable && now < lease.until => {
                tracing::warn!(error = %e, "the alert lease could not be renewed yet");
                Ok(lease)
            }
            Err(e) => Err(e),
        }
    }

    /// Somebody else has the lease.
    pub(crate) fn lost(&mut self) {
        self.show(None);
    }

    pub(crate) async fn release(&mut self, log: &impl AlertLog) -> Result<()> {
        let lease = self.lease.take();
        self.show(None);
        match lease {
            Some(lease) => log.release(&lease).await,
            None => Ok(()),
        }
    }

    /// A clock that was set back leaves more than the whole time to go: then it is due as well.
    fn is_due(&self, lease: &Lease, now: Timestamp) -> bool {
        let left = lease.until.since(now);
        left <= self.ttl * 2 / 3 || left > self.ttl
    }

    fn show(&mut self, lease: Option<Lease>) {
        if self.lease.as_ref().map(|l| l.epoch) != lease.as_ref().map(|l| l.epoch) {
            match &lease {
                Some(lease) => {
                    tracing::info!(owner = lease.owner, epoch = lease.epoch, "holds the alert lease")
                }
                None => tracing::info!(owner = self.owner, "does not hold the alert lease"),
            }
        }
        self.lease.clone_from(&lease);
        self.shown.send_if_modified(|shown| std::mem::replace(shown, lease.clone()) != lease);
    }
}

pub(crate) fn not_held() -> feedkit_core::Error {
    feedkit_core::Error::fenced("this process does not hold the alert lease, or has to recover first")
}
