//! The alert follower's lease, steps, snapshots, alerts and outbox, in the state's database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::alert_log::{
    AlertSnapshot, AlertStep, ExactState, RecordedStep, Recovered, RuleStates, WholeStates,
};
use feedkit_core::failpoint::{self, stage};
use feedkit_core::lease::Lease;
use feedkit_core::{AlertLog, Epoch, Error, Positions, Result, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{from_str, to_string};

use super::database::Database;
use super::failure::Sql;

/// Keeps alerts in `state.db`, each call that changes something in one transaction.
#[derive(Debug, Clone)]
pub struct SqliteAlertLog {
    pub(super) state: Arc<Database>,
}

/// There is one shard of rules so far; rows bear its number for the day there are more.
pub(super) const SHARD: i64 = 0;

impl SqliteAlertLog {
    pub(crate) fn new(state: Arc<Database>) -> SqliteAlertLog {
        SqliteAlertLog { state }
    }
}

#[async_trait]
impl AlertLog for SqliteAlertLog {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        if owner.is_empty() {
            return Err(Error::invalid("the owner of a lease needs a name"));
        }
        let owner = owner.to_owned();
        self.state.write(1, move |connection| acquire(connection, owner, now, ttl)).await
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
        let renewed = Lease { until: now.saturating_add(ttl), ..lease.clone() };
        self.state
            .write(1, move |connection| {
                check_lease(connection, &renewed)?;
                set_lease(connection, &renewed)?;
                Ok(renewed)
            })
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.state
            .write(1, move |connection| {
                check_lease(connection, &lease)?;
                set_lease(connection, &Lease { owner: String::new(), until: Timestamp::EPOCH, ..lease })
            })
            .await
    }

    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        let lease = lease.clone();
        self.state
            .read(move |connection| {
                check_lease(connection, &lease)?;
                Ok(Recovered { snapshot: load_snapshot(connection)?, steps: load_steps(connection)? })
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
                follows(connection, number)?;
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
                save_snapshot(connection, &snapshot, &exact)
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
    /// How many alerts are kept. (Their numbers may have holes.)
    pub async fn count(&self) -> Result<u64> {
        let count = |connection: &Connection| -> Sql<u64> {
            Ok(connection.query_row("SELECT count(*) FROM alerts", [], |row| row.get(0))?)
        };
        self.state.read(count).await
    }
}

fn load_lease(connection: &Connection) -> Sql<Option<Lease>> {
    let mut select =
        connection.prepare_cached("SELECT owner, epoch, until FROM alert_lease WHERE shard = ?1")?;
    let lease = select.query_row([SHARD], |row| {
        let until = Timestamp::from_millis(row.get(2)?);
        Ok(Lease { owner: row.get(0)?, epoch: row.get(1)?, until })
    });
    Ok(lease.optional()?)
}

fn set_lease(connection: &Connection, lease: &Lease) -> Sql<()> {
    connection
        .prepare_cached(
            "INSERT INTO alert_lease (shard, owner, epoch, until) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (shard) DO UPDATE
             SET owner = excluded.owner, epoch = excluded.epoch, until = excluded.until",
        )?
        .execute(params![SHARD, lease.owner, lease.epoch, lease.until.as_millis()])?;
    Ok(())
}

fn acquire(connection: &Connection, owner: String, now: Timestamp, ttl: Duration) -> Sql<Option<Lease>> {
    let until = now.saturating_add(ttl);
    let epoch: Epoch = match load_lease(connection)? {
        None => 1,
        Some(held) if held.owner == owner => held.epoch,
        // One that was given back has no owner.
        Some(held) if held.until > now && !held.owner.is_empty() => return Ok(None),
        Some(held) => held.epoch + 1,
    };
    let lease = Lease { owner, epoch, until };
    set_lease(connection, &lease)?;
    Ok(Some(lease))
}

/// Refuses who no longer holds the lease.
pub(super) fn check_lease(connection: &Connection, lease: &Lease) -> Sql<()> {
    match load_lease(connection)? {
        Some(held) if held.epoch == lease.epoch && held.owner == lease.owner => Ok(()),
        held => {
            let (owner, epoch) = held.map_or((String::new(), 0), |held| (held.owner, held.epoch));
            let holder = if owner.is_empty() { "nobody".to_owned() } else { owner };
            let message = format!(
                "the lease of {} (epoch {}) is over: {holder} holds it (epoch {epoch})",
                lease.owner, lease.epoch
            );
            Err(Error::fenced(message).into())
        }
    }
}

/// The number of the last step, and of the one that the snapshot ends with.
fn last_steps(connection: &Connection) -> Sql<(u64, u64)> {
    let mut select = connection.prepare_cached(
        "SELECT coalesce((SELECT max(number) FROM alert_steps), 0),
                coalesce((SELECT step FROM alert_snapshot WHERE shard = ?1), 0)",
    )?;
    let (step, snapshot): (u64, u64) = select.query_row([SHARD], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((step.max(snapshot), snapshot))
}

fn follows(connection: &Connection, number: u64) -> Sql<()> {
    let (last, _) = last_steps(connection)?;
    if number == last + 1 {
        return Ok(());
    }
    Err(Error::gap(format!("alert step {number} does not follow on step {last}")).into())
}

fn save_snapshot(connection: &Connection, snapshot: &AlertSnapshot, exact: &[ExactState]) -> Sql<()> {
    let step = snapshot.step;
    let (last, before) = last_steps(connection)?;
    if step > last || step < before {
        let message = format!("a snapshot of alert step {step} does not lie between {before} and {last}");
        return Err(Error::gap(message).into());
    }
    connection
        .prepare_cached(
            "INSERT INTO alert_snapshot (shard, step, positions) VALUES (?1, ?2, ?3)
             ON CONFLICT (shard) DO UPDATE SET step = excluded.step, positions = excluded.positions",
        )?
        .execute(params![SHARD, step, json(&snapshot.positions)?])?;
    connection.execute("DELETE FROM alert_states", [])?;
    let mut insert =
        connection.prepare_cached("INSERT INTO alert_states (rule, ordinal, state) VALUES (?1, ?2, ?3)")?;
    for (ordinal, (rule, state)) in snapshot.states.iter().enumerate() {
        insert.execute(params![rule, limited(ordinal), state])?;
    }
    failpoint::reach(stage::SNAPSHOT);
    let mut upsert = connection.prepare_cached(
        "INSERT INTO alert_exact (rule, key, state) VALUES (?1, ?2, ?3)
         ON CONFLICT (rule, key) DO UPDATE SET state = excluded.state",
    )?;
    for one in exact {
        upsert.execute(params![one.rule, one.key, one.state])?;
    }
    connection.prepare_cached("DELETE FROM alert_steps WHERE number <= ?1")?.execute([step])?;
    Ok(())
}

fn load_snapshot(connection: &Connection) -> Sql<Option<AlertSnapshot>> {
    let found: Option<(u64, String)> = connection
        .prepare_cached("SELECT step, positions FROM alert_snapshot WHERE shard = ?1")?
        .query_row([SHARD], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((step, positions)) = found else { return Ok(None) };
    let states = connection
        .prepare_cached("SELECT rule, state FROM alert_states ORDER BY ordinal")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Some(AlertSnapshot { step, positions: stored(&positions)?, states }))
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

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    to_string(value).map_err(|e| Error::data(format!("an alert cannot be written down: {e}")).with_source(e))
}

pub(super) fn stored<T: serde::de::DeserializeOwned>(text: &str) -> Sql<T> {
    from_str(text).map_err(|e| {
        Error::corrupt(format!("what is stored of the alerts cannot be read: {e}")).with_source(e).into()
    })
}

pub(super) fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
