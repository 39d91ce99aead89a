//! Snapshots of the rules' states.

use feedkit_core::alert_log::{AlertSnapshot, RuleStates};
use feedkit_core::backend::alert_log::check_snapshot;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::{Error, Positions};

use super::alert_json::{json, stored};
use super::alert_lease::SHARD;
use super::connection::{STATEMENT_ROWS, Session};
use super::copy::Copying;
use super::failure::Sql;

/// Replaces the snapshot. The states go to the server piece by piece, so that no whole state is in
/// memory.
pub(super) async fn save(
    session: &Session,
    step: u64,
    positions: &Positions,
    states: &dyn RuleStates,
) -> Sql<()> {
    let (last, before) = last_steps(session).await?;
    check_snapshot(before, last, step)?;
    let (step, positions) = (step as i64, json(positions)?);
    session
        .execute(
            "INSERT INTO alert_snapshot (shard, step, positions) VALUES ($1, $2, $3) \
             ON CONFLICT (shard) DO UPDATE SET step = excluded.step, positions = excluded.positions",
            &[&SHARD, &step, &positions],
        )
        .await?;
    save_states(session, states).await?;
    failpoint::reach(stage::SNAPSHOT);
    save_exact(session, states).await?;
    session.execute("DELETE FROM alert_steps WHERE number <= $1", &[&step]).await?;
    Ok(())
}

/// The number of the last step, and the last step that the snapshot includes.
pub(super) async fn last_steps(session: &Session) -> Sql<(u64, u64)> {
    let select = session
        .prepare_cached(
            "SELECT coalesce((SELECT max(number) FROM alert_steps), 0), \
             coalesce((SELECT step FROM alert_snapshot WHERE shard = $1), 0)",
        )
        .await?;
    let row = session.query_one(&select, &[&SHARD]).await?;
    let (step, snapshot) = (row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64);
    Ok((step.max(snapshot), snapshot))
}

async fn save_states(session: &Session, states: &dyn RuleStates) -> Sql<()> {
    session.execute("DELETE FROM alert_states", &[]).await?;
    let copy = "COPY alert_states (rule, ordinal, state) FROM STDIN (FORMAT binary)";
    let mut rows = Copying::begin(session, copy, 3).await?;
    for (ordinal, rule) in (0..).zip(states.rules()) {
        // The length is written before the value. So the state is read twice, which needs less
        // memory than holding it.
        let mut left = 0;
        for piece in states.state(rule) {
            left += piece?.len();
        }
        rows.row().text(rule).int4(ordinal).long(left);
        for piece in states.state(rule) {
            let piece = piece?;
            left = left.checked_sub(piece.len()).ok_or_else(|| changed(rule))?;
            rows.piece(&piece).await?;
        }
        if left > 0 {
            return Err(changed(rule).into());
        }
    }
    rows.finish().await
}

fn changed(rule: &str) -> Error {
    Error::fatal(format!("the state of rule {rule} changed while it was being written"))
}

async fn save_exact(session: &Session, states: &dyn RuleStates) -> Sql<()> {
    let mut exact = states.exact();
    loop {
        let some = exact.by_ref().take(STATEMENT_ROWS).collect::<feedkit_core::Result<Vec<_>>>()?;
        if some.is_empty() {
            return Ok(());
        }
        let rules: Vec<&str> = some.iter().map(|exact| exact.rule.as_str()).collect();
        let keys: Vec<&str> = some.iter().map(|exact| exact.key.as_str()).collect();
        let states: Vec<&[u8]> = some.iter().map(|exact| exact.state.as_slice()).collect();
        let upsert = session
            .prepare_cached(
                "INSERT INTO alert_exact (rule, key, state) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) \
                 ON CONFLICT (rule, key) DO UPDATE SET state = excluded.state",
            )
            .await?;
        session.execute(&upsert, &[&rules, &keys, &states]).await?;
    }
}

pub(super) async fn load(session: &Session) -> Sql<Option<AlertSnapshot>> {
    let select = "SELECT step, positions FROM alert_snapshot WHERE shard = $1";
    let Some(row) = session.query_opt(select, &[&SHARD]).await? else { return Ok(None) };
    let (step, positions) = (row.get::<_, i64>(0) as u64, stored(row.get(1))?);
    let rows = session.query("SELECT rule, state FROM alert_states ORDER BY ordinal", &[]).await?;
    let states = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(Some(AlertSnapshot { step, positions, states }))
}
