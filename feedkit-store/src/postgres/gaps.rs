//! Accepting gaps in the log.

use feedkit_core::journal::JournalEntry;
use feedkit_core::trending::Trending;
use feedkit_core::{Error, Offset, Partition, Timestamp};
use uuid::Uuid;

use super::connection::Session;
use super::failure::Sql;
use super::numbers::number;
use super::sql_time::SqlTime;
use super::{journal, positions, rollup_positions, schema};

/// Moves the partition to `to` in log `log`, and records that this was accepted.
///
/// If the gap is ahead, an empty journal entry moves the followers over it. If the partition goes
/// back, the followers would get offsets again that they have already applied. So the journal is
/// dropped, and the history gets another incarnation, which makes them start over. The rollups are
/// in the same database: they first take the entries that they lack, and then go back too.
pub(super) async fn accept(
    session: &Session,
    partition: Partition,
    log: u128,
    to: Offset,
    now: Timestamp,
    trending: &Trending,
) -> Sql<()> {
    let p = number(partition)?;
    let stored = i64::try_from(to).map_err(|_| {
        Error::invalid(format!("partition {partition} cannot continue at {to}: the offset is too large"))
    })?;
    session.query("SELECT 1 FROM positions WHERE partition = $1 FOR UPDATE", &[&p]).await?;
    let claim = positions::claimed(session, partition).await?;
    let from = claim.position;
    if claim.epoch == 0 {
        return Err(Error::invalid(format!("partition {partition} was never claimed")).into());
    }
    if to < from {
        rollup_positions::take_all(session, partition, trending).await?;
    }
    let log_id = Uuid::from_u128(log);
    session
        .execute(
            "UPDATE positions SET position = $2, log = $3, last_offset = NULL, last_time = NULL, last_hash = NULL \
             WHERE partition = $1",
            &[&p, &stored, &log_id],
        )
        .await?;
    session
        .execute(
            "INSERT INTO gaps (partition, at, position, went_on, log) VALUES ($1, $2, $3, $4, $5)",
            &[&p, &SqlTime(now), &(from as i64), &stored, &log_id],
        )
        .await?;
    if to > from {
        let entry =
            JournalEntry { partition, from, to, epoch: claim.epoch, at_end: false, effects: Vec::new() };
        journal::append(session, &entry, now).await?;
    } else if to < from {
        session.execute("DELETE FROM journal WHERE partition = $1", &[&p]).await?;
        for update in [
            "UPDATE positions SET journal_from = $2 WHERE partition = $1",
            "UPDATE followers SET position = $2 WHERE partition = $1",
            "UPDATE rollup_positions SET position = $2 WHERE partition = $1",
        ] {
            session.execute(update, &[&p, &stored]).await?;
        }
        schema::renew_incarnation(session).await?;
    }
    Ok(())
}
