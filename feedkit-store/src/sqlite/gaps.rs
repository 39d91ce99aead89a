//! Accepting gaps in the log.

use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, Offset, Partition, Timestamp};
use rusqlite::{Connection, params};

use super::failure::Sql;
use super::{journal, positions, schema};

/// Moves the partition to `to` in log `log`, and records that this was accepted.
///
/// If the gap is ahead, an empty journal entry moves the followers over it. If the partition goes
/// back, the followers would get offsets again that they have already applied. So the journal is
/// dropped, and the history gets another incarnation, which makes them start over.
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
        Error::invalid(format!("partition {partition} cannot continue at {to}: the offset is too large"))
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
