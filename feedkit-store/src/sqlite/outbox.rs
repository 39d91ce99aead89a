//! The notifications that wait to be published, in `state.db`.

use async_trait::async_trait;
use feedkit_core::lease::Lease;
use feedkit_core::outbox::OutboxRow;
use feedkit_core::{Outbox, Positions, Result};
use rusqlite::{OptionalExtension, params};

use super::alert_json::{json, limited, stored};
use super::alert_lease::{SHARD, check_lease};
use super::alert_log::SqliteAlertLog;
use super::alerts::load_notifications;

#[async_trait]
impl Outbox for SqliteAlertLog {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        let rows = self.state.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT seq, notification FROM alerts
                 WHERE seq > coalesce((SELECT seq FROM alert_published WHERE shard = ?1), 0)
                 ORDER BY seq LIMIT ?2",
            )?;
            load_notifications(&mut select, [SHARD, limited(limit)])
        });
        let rows = rows.await?.into_iter();
        Ok(rows.map(|(seq, notification)| OutboxRow { seq, notification }).collect())
    }

    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()> {
        let lease = lease.clone();
        let positions = json(positions)?;
        self.state
            .write(1, move |connection| {
                check_lease(connection, &lease)?;
                connection
                    .prepare_cached(
                        "INSERT INTO alert_published (shard, seq, positions) VALUES (?1, ?2, ?3)
                         ON CONFLICT (shard) DO UPDATE
                         SET seq = max(seq, excluded.seq), positions = excluded.positions",
                    )?
                    .execute(params![SHARD, seq, positions])?;
                Ok(())
            })
            .await
    }

    async fn published(&self) -> Result<Positions> {
        self.state
            .read(|connection| {
                let positions: Option<String> = connection
                    .prepare_cached("SELECT positions FROM alert_published WHERE shard = ?1")?
                    .query_row([SHARD], |row| row.get(0))
                    .optional()?;
                positions.map_or(Ok(Positions::new()), |text| stored(&text))
            })
            .await
    }
}
