//! Snapshots of the rules' states.

use feedkit_core::alert_log::{AlertSnapshot, ExactState};
use feedkit_core::backend::alert_log::check_snapshot;
use feedkit_core::failpoint::{self, stage};
use rusqlite::{Connection, OptionalExtension, params};

use super::alert_json::{json, limited, stored};
use super::alert_lease::SHARD;
use super::failure::Sql;

/// Replaces the snapshot, sets exact states, and removes the steps that it includes.
pub(super) fn save(connection: &Connection, snapshot: &AlertSnapshot, exact: &[ExactState]) -> Sql<()> {
    let step = snapshot.step;
    let (last, before) = last_steps(connection)?;
    check_snapshot(before, last, step)?;
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

/// The number of the last step, and the last step that the snapshot includes.
pub(super) fn last_steps(connection: &Connection) -> Sql<(u64, u64)> {
    let mut select = connection.prepare_cached(
        "SELECT coalesce((SELECT max(number) FROM alert_steps), 0),
                coalesce((SELECT step FROM alert_snapshot WHERE shard = ?1), 0)",
    )?;
    let (step, snapshot): (u64, u64) = select.query_row([SHARD], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((step.max(snapshot), snapshot))
}

/// The last snapshot.
pub(super) fn load(connection: &Connection) -> Sql<Option<AlertSnapshot>> {
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
