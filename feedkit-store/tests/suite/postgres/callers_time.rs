//! An alert log for the conformance suite, which says what time it is with each call.

use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::alert_log::{AlertStep, Recovered, RuleStates};
use feedkit_core::lease::Lease;
use feedkit_core::notification::Notification;
use feedkit_core::outbox::OutboxRow;
use feedkit_core::{AlertLog, Alerts, Outbox, Positions, Result, Timestamp};
use feedkit_store::postgres::PostgresAlertLog;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::support::{Databases, client, connect, options};

/// Lets the server's time pass as the caller says: it moves the end of the stored lease instead.
pub(super) struct CallersTime {
    inner: PostgresAlertLog,
    client: Client,
    now: Mutex<Option<Timestamp>>,
}

impl CallersTime {
    pub(super) async fn new(databases: &Databases) -> CallersTime {
        let url = databases.url().await;
        let inner = connect(options(&url)).await.alert_log();
        CallersTime { inner, client: client(&url).await, now: Mutex::default() }
    }

    async fn pass_until(&self, now: Timestamp) {
        let mut last = self.now.lock().await;
        let passed = now.as_millis() - last.unwrap_or(now).as_millis();
        let update = "UPDATE alert_lease SET until = until - $1 * interval '1 ms' WHERE owner <> ''";
        self.client.execute(update, &[&(passed as f64)]).await.unwrap();
        *last = Some(now);
    }
}

#[async_trait]
impl AlertLog for CallersTime {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        self.pass_until(now).await;
        let lease = self.inner.acquire(owner, now, ttl).await?;
        Ok(lease.map(|lease| Lease { until: now.saturating_add(ttl), ..lease }))
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
        self.pass_until(now).await;
        let lease = self.inner.renew(lease, now, ttl).await?;
        Ok(Lease { until: now.saturating_add(ttl), ..lease })
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.inner.release(lease).await
    }

    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        self.inner.recover(lease).await
    }

    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()> {
        self.inner.step(lease, step).await
    }

    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()> {
        self.inner.save_snapshot(lease, step, positions, states).await
    }

    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        self.inner.exact_states(rule, keys).await
    }
}

#[async_trait]
impl Outbox for CallersTime {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        self.inner.outbox(limit).await
    }

    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()> {
        self.inner.mark_published(lease, seq, positions).await
    }

    async fn published(&self) -> Result<Positions> {
        self.inner.published().await
    }
}

#[async_trait]
impl Alerts for CallersTime {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        self.inner.alerts(before, limit).await
    }
}
