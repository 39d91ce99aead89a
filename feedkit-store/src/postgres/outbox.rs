//! Notifications that wait to be published.

use async_trait::async_trait;
use feedkit_core::lease::Lease;
use feedkit_core::outbox::OutboxRow;
use feedkit_core::{Outbox, Positions, Result};

use super::alert_json::{json, stored};
use super::alert_lease::{SHARD, hold_lease_shared};
use super::alert_log::PostgresAlertLog;
use super::alerts::load_notifications;
use super::numbers::limited;
use super::pool::{reading, transaction};

#[async_trait]
impl Outbox for PostgresAlertLog {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        let rows = reading!(self.store.database(), session => {
            let select = session
                .prepare_cached("SELECT seq, notification FROM outbox ORDER BY seq LIMIT $1")
                .await?;
            load_notifications(&session.query(&select, &[&limited(limit)]).await?)
        })?;
        Ok(rows.into_iter().map(|(seq, notification)| OutboxRow { seq, notification }).collect())
    }

    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()> {
        let positions = json(positions)?;
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        transaction!(self.store.database(), session => {
            hold_lease_shared(session, lease).await?;
            let upsert = session
                .prepare_cached(
                    "INSERT INTO alert_published AS p (shard, seq, positions) VALUES ($1, $2, $3) \
                     ON CONFLICT (shard) DO UPDATE SET seq = greatest(p.seq, excluded.seq), \
                     positions = excluded.positions",
                )
                .await?;
            session.execute(&upsert, &[&SHARD, &seq, &positions]).await?;
            Ok(())
        })
    }

    async fn published(&self) -> Result<Positions> {
        reading!(self.store.database(), session => {
            let select =
                session.prepare_cached("SELECT positions FROM alert_published WHERE shard = $1").await?;
            let row = session.query_opt(&select, &[&SHARD]).await?;
            row.map_or(Ok(Positions::new()), |row| stored(row.get(0)))
        })
    }
}
