//! The alerts that were raised, in `state.db`.

use async_trait::async_trait;
use feedkit_core::notification::Notification;
use feedkit_core::{Alerts, Result};

use super::alert_json::{limited, stored};
use super::alert_log::SqliteAlertLog;
use super::failure::Sql;

#[async_trait]
impl Alerts for SqliteAlertLog {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        self.state
            .read(move |connection| {
                let mut select = connection.prepare_cached(
                    "SELECT seq, notification FROM alerts WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
                )?;
                load_notifications(&mut select, [before, limited(limit)])
            })
            .await
    }
}

pub(super) fn load_notifications(
    select: &mut rusqlite::CachedStatement<'_>,
    parameters: [i64; 2],
) -> Sql<Vec<(u64, Notification)>> {
    let mut rows = select.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(1)?;
        found.push((row.get(0)?, stored(&text)?));
    }
    Ok(found)
}
