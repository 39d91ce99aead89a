//! The stored positions: claimed, advanced, and moved over gaps.

use feedkit_core::history::{Claim, CommitBatch};
use feedkit_core::source::RecordMark;
use feedkit_core::{Error, Offset, Partition, Positions, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Sql;

/// What is stored of a partition.
pub(super) fn claimed(connection: &Connection, partition: Partition) -> Sql<Claim> {
    let claim = connection
        .prepare_cached(
            "SELECT epoch, position, log, last_offset, last_time, last_hash FROM positions WHERE partition = ?1",
        )?
        .query_row([partition.0], |row| {
            let log: Option<[u8; 16]> = row.get(2)?;
            let last: Option<i64> = row.get(3)?;
            Ok(Claim {
                epoch: row.get::<_, i64>(0)? as u64,
                position: row.get::<_, i64>(1)? as Offset,
                log: log.map(u128::from_be_bytes),
                last: match last {
                    None => None,
                    Some(offset) => Some(RecordMark {
                        offset: offset as Offset,
                        time: Timestamp::from_millis(row.get(4)?),
                        hash: row.get::<_, i64>(5)? as u64,
                    }),
                },
            })
        })
        .optional()?;
    Ok(claim.unwrap_or_default())
}

/// Raises the partition's epoch.
pub(super) fn claim(connection: &Connection, partition: Partition) -> Sql<Claim> {
    connection.execute(
        "INSERT INTO positions (partition, position, epoch) VALUES (?1, 0, 1) \
         ON CONFLICT DO UPDATE SET epoch = epoch + 1",
        [partition.0],
    )?;
    claimed(connection, partition)
}

/// Moves the partition from the batch's start to its end, if it stands there and the epoch is the batch's.
pub(super) fn advance(connection: &Connection, batch: &CommitBatch) -> Sql<()> {
    let CommitBatch { partition, epoch, from, to, .. } = *batch;
    let claim = claimed(connection, partition)?;
    if claim.epoch != epoch {
        return Err(Error::fenced(format!(
            "partition {partition} was claimed by another: epoch {}, ours is {epoch}",
            claim.epoch
        ))
        .into());
    }
    if claim.position != from {
        return Err(Error::gap(format!(
            "partition {partition} stands at {}, the batch begins at {from}",
            claim.position
        ))
        .into());
    }
    let last = batch.last.or(claim.last);
    connection
        .prepare_cached(
            "UPDATE positions SET position = ?2, log = ?3, last_offset = ?4, last_time = ?5, last_hash = ?6 \
             WHERE partition = ?1",
        )?
        .execute(params![
            partition.0,
            to as i64,
            &batch.log.to_be_bytes()[..],
            last.map(|l| l.offset as i64),
            last.map(|l| l.time.as_millis()),
            last.map(|l| l.hash as i64),
        ])?;
    Ok(())
}

/// The next offset of every partition.
pub(super) fn all(connection: &Connection) -> Sql<Positions> {
    let mut select = connection.prepare_cached("SELECT partition, position FROM positions")?;
    let rows = select.query_map([], |row| Ok((Partition(row.get(0)?), row.get::<_, i64>(1)? as Offset)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Goes on at `to` in log `log`, and keeps that this was accepted.
pub(super) fn accept_gap(
    connection: &Connection,
    partition: Partition,
    log: u128,
    to: Offset,
    now: Timestamp,
) -> Sql<()> {
    let claim = claimed(connection, partition)?;
    connection.execute(
        "INSERT INTO positions (partition, position, epoch, log) VALUES (?1, ?2, 1, ?3) ON CONFLICT DO UPDATE SET \
         position = ?2, epoch = epoch + 1, log = ?3, last_offset = NULL, last_time = NULL, last_hash = NULL",
        params![partition.0, to as i64, &log.to_be_bytes()[..]],
    )?;
    connection.execute(
        "INSERT OR REPLACE INTO gaps (partition, at, position, went_on) VALUES (?1, ?2, ?3, ?4)",
        params![partition.0, now.as_millis(), claim.position as i64, to as i64],
    )?;
    Ok(())
}
