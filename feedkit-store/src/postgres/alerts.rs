//! The alerts that were raised.

use async_trait::async_trait;
use feedkit_core::notification::Notification;
use feedkit_core::{Alerts, Result};
use tokio_postgres::Row;

use super::alert_json::stored;
use super::alert_log::PostgresAlertLog;
use super::failure::Sql;
use super::numbers::limited;
use super::pool::reading;

#[async_trait]
impl Alerts for PostgresAlertLog {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        reading!(self.store.database(), session => {
            let select = session
                .prepare_cached(
                    "SELECT seq, notification FROM alerts WHERE seq < $1 ORDER BY seq DESC LIMIT $2",
                )
                .await?;
            load_notifications(&session.query(&select, &[&before, &limited(limit)]).await?)
        })
    }
}

pub(super) fn load_notifications(rows: &[Row]) -> Sql<Vec<(u64, Notification)>> {
    rows.iter().map(|row| Ok((row.get::<_, i64>(0) as u64, stored(row.get(1))?))).collect()
}
