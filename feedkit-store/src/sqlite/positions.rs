//! The stored positions: claiming and advancing them.

use feedkit_core::backend::batch::{check_claim, check_order};
use feedkit_core::history::{Claim, CommitBatch};
use feedkit_core::source::RecordMark;
use feedkit_core::{Offset, Partition, Positions, Timestamp};
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

/// Moves the partition from the batch's start to its end, if its position, epoch and log are the
/// batch's.
pub(super) fn advance(connection: &Connection, batch: &CommitBatch) -> Sql<()> {
    let claim = claimed(connection, batch.partition)?;
    check_claim(&claim, batch)?;
    check_order(batch)?;
    let last = batch.last.or(claim.last);
    connection
        .prepare_cached(
            "UPDATE positions SET position = ?2, log = ?3, last_offset = ?4, last_time = ?5, last_hash = ?6 \
             WHERE partition = ?1",
        )?
        .execute(params![
            batch.partition.0,
            batch.to as i64,
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
