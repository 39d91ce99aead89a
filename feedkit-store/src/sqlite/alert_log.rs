//! The alert follower's steps and snapshots, in `state.db`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::alert_log::{AlertSnapshot, AlertStep, RecordedStep, Recovered, RuleStates, WholeStates};
use feedkit_core::backend::alert_log as backend;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::lease::Lease;
use feedkit_core::{AlertLog, Positions, Result, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::alert_json::{json, stored};
use super::alert_lease::{check_lease, load_lease, set_lease};
use super::alert_snapshot;
use super::database::Database;
use super::failure::Sql;

/// An alert log in `state.db`. Each call that changes something is one transaction.
#[derive(Debug, Clone)]
pub struct SqliteAlertLog {
    pub(super) state: Arc<Database>,
}

impl SqliteAlertLog {
    pub(crate) fn new(state: Arc<Database>) -> SqliteAlertLog {
        SqliteAlertLog { state }
    }
}

#[async_trait]
impl AlertLog for SqliteAlertLog {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        let owner = owner.to_owned();
        self.state
            .write(1, move |connection| {
                let acquired = backend::acquire(load_lease(connection)?.as_ref(), &owner, now, ttl)?;
                acquired.iter().try_for_each(|lease| set_lease(connection, lease))?;
                Ok(acquired)
            })
            .await
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
        let lease = lease.clone();
        self.state
            .write(1, move |connection| {
                let renewed = backend::renew(load_lease(connection)?.as_ref(), &lease, now, ttl)?;
                set_lease(connection, &renewed)?;
                Ok(renewed)
            })
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.state
            .write(1, move |connection| {
                set_lease(connection, &backend::release(load_lease(connection)?.as_ref(), &lease)?)
            })
            .await
    }

    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        let lease = lease.clone();
        self.state
            .read(move |connection| {
                check_lease(connection, &lease)?;
                Ok(Recovered { snapshot: alert_snapshot::load(connection)?, steps: load_steps(connection)? })
            })
            .await
    }

    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()> {
        let lease = lease.clone();
        let (number, watermark) = (step.number, step.watermark);
        let consumed = json(&step.consumed)?;
        let alerts = step
            .alerts
            .iter()
            .map(|alert| Ok((alert.id.clone(), json(alert)?)))
            .collect::<Result<Vec<_>>>()?;
        self.state
            .write(1 + alerts.len(), move |connection| {
                check_lease(connection, &lease)?;
                let (last, _) = alert_snapshot::last_steps(connection)?;
                backend::check_step(last, number)?;
                connection
                    .prepare_cached(
                        "INSERT INTO alert_steps (number, watermark, consumed) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![number, watermark.as_millis(), consumed])?;
                failpoint::reach(stage::ALERT_STEP);
                let mut insert = connection.prepare_cached(
                    "INSERT INTO alerts (id, notification) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
                )?;
                for (id, notification) in alerts {
                    insert.execute([id, notification])?;
                }
                Ok(())
            })
            .await
    }

    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()> {
        let WholeStates { states, exact } = WholeStates::of(states)?;
        let (lease, snapshot) = (lease.clone(), AlertSnapshot { step, positions: positions.clone(), states });
        self.state
            .write(1 + exact.len(), move |connection| {
                check_lease(connection, &lease)?;
                alert_snapshot::save(connection, &snapshot, &exact)
            })
            .await
    }

    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        let rule = rule.to_owned();
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.state
            .read(move |connection| {
                let mut select = connection
                    .prepare_cached("SELECT state FROM alert_exact WHERE rule = ?1 AND key = ?2")?;
                let state = |key| Ok(select.query_row([&rule, &key], |row| row.get(0)).optional()?);
                keys.into_iter().map(state).collect()
            })
            .await
    }
}

impl SqliteAlertLog {
    /// Returns the number of stored alerts. (Their numbers may have holes.)
    pub async fn count(&self) -> Result<u64> {
        let count = |connection: &Connection| -> Sql<u64> {
            Ok(connection.query_row("SELECT count(*) FROM alerts", [], |row| row.get(0))?)
        };
        self.state.read(count).await
    }
}

fn load_steps(connection: &Connection) -> Sql<Vec<RecordedStep>> {
    let mut select =
        connection.prepare_cached("SELECT number, watermark, consumed FROM alert_steps ORDER BY number")?;
    let mut rows = select.query([])?;
    let mut steps = Vec::new();
    while let Some(row) = rows.next()? {
        let consumed: String = row.get(2)?;
        steps.push(RecordedStep {
            number: row.get(0)?,
            watermark: Timestamp::from_millis(row.get(1)?),
            consumed: stored(&consumed)?,
        });
    }
    Ok(steps)
}
