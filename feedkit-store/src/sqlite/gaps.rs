//! Gaps that an operator accepts.

use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, Offset, Partition, Timestamp};
use rusqlite::{Connection, params};

use super::failure::Sql;
use super::{journal, positions, schema};

/// Goes on at `to` in log `log`, and keeps that this was accepted.
///
/// Followers move over a gap that lies ahead by an empty journal entry. Where the partition goes back, offsets come
/// up again that they have behind them: its journal is dropped, and the history gets another incarnation, so that
/// they start over.
pub(super) fn accept(
    connection: &Connection,
    partition: Partition,
    log: u128,
    to: Offset,
    now: Timestamp,
) -> Sql<()> {
    let claim = positions::claimed(connection, partition)?;
    let from = claim.position;
    if claim.epoch == 0 {
        return Err(Error::invalid(format!("partition {partition} was never claimed")).into());
    }
    let stored = i64::try_from(to).map_err(|_| {
        Error::invalid(format!("partition {partition} cannot go on at {to}: it is too large"))
    })?;
    let log_bytes = log.to_be_bytes();
    connection.execute(
        "UPDATE positions SET position = ?2, log = ?3, last_offset = NULL, last_time = NULL, last_hash = NULL \
         WHERE partition = ?1",
        params![partition.0, stored, &log_bytes[..]],
    )?;
    connection.execute(
        "INSERT INTO gaps (partition, at, position, went_on, log) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![partition.0, now.as_millis(), from as i64, stored, &log_bytes[..]],
    )?;
    if to > from {
        let entry =
            JournalEntry { partition, from, to, epoch: claim.epoch, at_end: false, effects: Vec::new() };
        journal::append(connection, &entry, now)?;
    } else if to < from {
        journal::drop_all(connection, partition, stored)?;
        connection.execute(
            "UPDATE followers SET position = ?2 WHERE partition = ?1",
            params![partition.0, stored],
        )?;
        schema::renew_incarnation(connection)?;
    }
    Ok(())
}
