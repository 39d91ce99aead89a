//! The alert follower's steps, snapshots and alerts.

use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::alert_log::{AlertStep, RecordedStep, Recovered, RuleStates};
use feedkit_core::backend::alert_log as backend;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::lease::Lease;
use feedkit_core::notification::Notification;
use feedkit_core::{AlertLog, Positions, Result, Timestamp};
use hashbrown::{HashMap, HashSet};
use tokio_postgres::Row;

use super::alert_json::{json, stored, word};
use super::alert_lease::{SHARD, hold_lease, hold_lease_shared, lock_lease, now, set_lease};
use super::connection::Session;
use super::failure::Sql;
use super::pool::{reading, transaction};
use super::shared::Handle;
use super::sql_time::SqlTime;
use super::{alert_lease, alert_snapshot};

/// An alert log in PostgreSQL. Each call that changes something is one transaction, which locks the
/// lease's row: a process without the lease changes nothing. Snapshots and marks share the lock, so
/// that the relay does not wait for a snapshot. Nobody gets the lease while one of them is running.
/// The server's clock decides when a lease ends.
#[derive(Debug, Clone)]
pub struct PostgresAlertLog {
    pub(super) store: Handle,
}

/// Maximum number of alerts that one statement writes.
const ALERTS: usize = 500;

impl PostgresAlertLog {
    pub(super) fn new(store: &Handle) -> Self {
        PostgresAlertLog { store: store.clone() }
    }

    /// Returns how far the steps have come, also those of another process.
    pub async fn positions(&self) -> Result<Positions> {
        let snapshot = "SELECT positions FROM alert_snapshot WHERE shard = $1";
        reading!(self.store.database(), session => {
            // The two reads do not see the same moment. The steps are read first, so that a
            // snapshot that is saved in between is not behind them.
            let steps = load_steps(session).await?;
            let mut positions: Positions = match session.query_opt(snapshot, &[&SHARD]).await? {
                Some(row) => stored(row.get(0))?,
                None => Positions::new(),
            };
            for consumed in steps.iter().flat_map(|step| &step.consumed) {
                positions.advance(consumed.partition, consumed.to);
            }
            Ok(positions)
        })
    }

    /// Returns the last lease, and whether its owner still holds it. The owner is empty after the lease
    /// was given back, and before the first one.
    pub async fn lease(&self) -> Result<(Lease, bool)> {
        reading!(self.store.database(), session => alert_lease::look(session).await)
    }

    /// Returns the number of stored alerts.
    pub async fn count(&self) -> Result<u64> {
        let count = "SELECT count(*) FROM alerts";
        reading!(self.store.database(), session => {
            Ok(session.query_one(count, &[]).await?.get::<_, i64>(0) as u64)
        })
    }
}

#[async_trait]
impl AlertLog for PostgresAlertLog {
    async fn acquire(&self, owner: &str, _: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        transaction!(self.store.database(), session => {
            let held = lock_lease(session).await?;
            let acquired = backend::acquire(Some(&held), owner, now(session).await?, ttl)?;
            if let Some(lease) = &acquired {
                set_lease(session, lease).await?;
            }
            Ok(acquired)
        })
    }

    async fn renew(&self, lease: &Lease, _: Timestamp, ttl: Duration) -> Result<Lease> {
        transaction!(self.store.database(), session => {
            let held = lock_lease(session).await?;
            let renewed = backend::renew(Some(&held), lease, now(session).await?, ttl)?;
            set_lease(session, &renewed).await?;
            Ok(renewed)
        })
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        transaction!(self.store.database(), session => {
            let free = backend::release(Some(&lock_lease(session).await?), lease)?;
            set_lease(session, &free).await
        })
    }

    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        transaction!(self.store.database(), session => {
            // While the lease's row is locked, nobody writes between the two reads.
            hold_lease(session, lease).await?;
            Ok(Recovered { snapshot: alert_snapshot::load(session).await?, steps: load_steps(session).await? })
        })
    }

    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()> {
        let consumed = json(&step.consumed)?;
        transaction!(self.store.database(), session => {
            hold_lease(session, lease).await?;
            let (last, _) = alert_snapshot::last_steps(session).await?;
            backend::check_step(last, step.number)?;
            let insert = session
                .prepare_cached("INSERT INTO alert_steps (number, watermark, consumed) VALUES ($1, $2, $3)")
                .await?;
            let watermark = step.watermark.as_millis();
            session.execute(&insert, &[&(step.number as i64), &watermark, &consumed]).await?;
            failpoint::reach(stage::ALERT_STEP);
            raise(session, &step.alerts).await
        })
    }

    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()> {
        transaction!(self.store.database(), session => {
            hold_lease_shared(session, lease).await?;
            alert_snapshot::save(session, step, positions, states).await
        })
    }

    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut found: HashMap<String, Vec<u8>> = reading!(self.store.database(), session => {
            let select = session
                .prepare_cached("SELECT key, state FROM alert_exact WHERE rule = $1 AND key = ANY($2)")
                .await?;
            let rows = session.query(&select, &[&rule, &keys]).await?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })?;
        let mut states = Vec::with_capacity(keys.len());
        for (i, key) in keys.iter().enumerate() {
            let again = keys[i + 1..].contains(key);
            states.push(if again { found.get(*key).cloned() } else { found.remove(*key) });
        }
        Ok(states)
    }
}

/// Stores the alerts whose ids are not stored already.
async fn raise(session: &Session, alerts: &[Notification]) -> Sql<()> {
    if alerts.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
    let known = session.prepare_cached("SELECT id FROM alerts WHERE id = ANY($1)").await?;
    let mut known: HashSet<String> =
        session.query(&known, &[&ids]).await?.iter().map(|row| row.get(0)).collect();
    let mut new = Vec::new();
    for alert in alerts {
        if known.insert(alert.id.clone()) {
            new.push(alert);
        }
    }
    let insert = session
        .prepare_cached(
            "INSERT INTO alerts (seq, id, type, severity, audience, title, occurred_at, notification) \
             SELECT coalesce((SELECT max(seq) FROM alerts), 0) + n.ordinality, n.id, n.type, n.severity, n.audience, \
             n.title, n.at, n.notification \
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::jsonb[]) \
             WITH ORDINALITY AS n (id, type, severity, audience, title, at, notification, ordinality)",
        )
        .await?;
    for some in new.chunks(ALERTS) {
        let column = |of: fn(&Notification) -> &str| some.iter().map(|alert| of(alert)).collect::<Vec<_>>();
        let (ids, kinds, titles) = (column(|a| &a.id), column(|a| &a.kind), column(|a| &a.title));
        let severities = some.iter().map(|alert| word(&alert.severity)).collect::<Result<Vec<_>>>()?;
        let audiences: Vec<String> = some.iter().map(|alert| alert.audience.key()).collect();
        let times: Vec<SqlTime> = some.iter().map(|alert| SqlTime(alert.occurred_at)).collect();
        let all = some.iter().copied().map(json).collect::<Result<Vec<_>>>()?;
        session.execute(&insert, &[&ids, &kinds, &severities, &audiences, &titles, &times, &all]).await?;
    }
    Ok(())
}

async fn load_steps(session: &Session) -> Sql<Vec<RecordedStep>> {
    let select = "SELECT number, watermark, consumed FROM alert_steps ORDER BY number";
    let rows = session.query(select, &[]).await?;
    let step = |row: &Row| {
        Ok(RecordedStep {
            number: row.get::<_, i64>(0) as u64,
            watermark: Timestamp::from_millis(row.get(1)),
            consumed: stored(row.get(2))?,
        })
    };
    rows.iter().map(step).collect()
}
