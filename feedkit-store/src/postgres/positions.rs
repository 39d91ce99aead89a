//! The stored positions: claiming and advancing them.

use feedkit_core::backend::batch::{check_claim, check_group};
use feedkit_core::history::{Claim, CommitBatch};
use feedkit_core::source::RecordMark;
use feedkit_core::{Error, Offset, Partition, Positions, Timestamp};
use tokio_postgres::{Row, Statement};
use uuid::Uuid;

use super::connection::Session;
use super::failure::Sql;
use super::numbers::{number, partition_at};
use super::{events, schema};

const COLUMNS: &str = "epoch, position, log, last_offset, last_time, last_hash";

/// What is stored of a partition.
pub(super) async fn claimed(session: &Session, partition: Partition) -> Sql<Claim> {
    let select = format!("SELECT {COLUMNS} FROM positions WHERE partition = $1");
    let select = session.prepare_cached(&select).await?;
    let row = session.query_opt(&select, &[&number(partition)?]).await?;
    Ok(row.as_ref().map(claim_of).unwrap_or_default())
}

fn claim_of(row: &Row) -> Claim {
    let offset: Option<i64> = row.get(3);
    Claim {
        epoch: row.get::<_, i64>(0) as u64,
        position: row.get::<_, i64>(1) as Offset,
        log: row.get::<_, Option<Uuid>>(2).map(|log| log.as_u128()),
        last: offset.map(|offset| RecordMark {
            offset: offset as Offset,
            time: Timestamp::from_millis(row.get::<_, Option<i64>>(4).unwrap_or_default()),
            hash: row.get::<_, Option<i64>>(5).unwrap_or_default() as u64,
        }),
    }
}

/// Raises the partition's epoch, for the group that the history belongs to.
///
/// It waits for a running commit, which locks the row. So it reads what that commit left.
pub(super) async fn claim(session: &Session, partition: Partition, group: &str) -> Sql<Claim> {
    session
        .execute("INSERT INTO meta (key, value) VALUES ('group', $1) ON CONFLICT DO NOTHING", &[&group])
        .await?;
    if let Some(owner) = schema::meta(session, "group").await? {
        check_group(&owner, group)?;
    }
    let upsert = format!(
        "INSERT INTO positions (partition, position, epoch) VALUES ($1, 0, 1) \
         ON CONFLICT (partition) DO UPDATE SET epoch = positions.epoch + 1 RETURNING {COLUMNS}"
    );
    Ok(claim_of(&session.query_one(&upsert, &[&number(partition)?]).await?))
}

/// Moves the partition from a batch's start to its end, if its position, epoch and log are the
/// batch's. The row stays locked until the transaction ends.
const ADVANCE: &str = "UPDATE positions SET position = $4, log = $5, last_offset = coalesce($6, last_offset), \
     last_time = CASE WHEN $6::bigint IS NULL THEN last_time ELSE $7 END, \
     last_hash = CASE WHEN $6::bigint IS NULL THEN last_hash ELSE $8 END \
     WHERE partition = $1 AND epoch = $2 AND position = $3 AND (log IS NULL OR log = $5) \
     RETURNING (SELECT value FROM meta WHERE key = 'dropped_until')";

/// Prepares the statement that moves a batch's partition.
pub(super) async fn prepare_advance(session: &Session) -> Sql<Statement> {
    Ok(session.prepare_cached(ADVANCE).await?)
}

/// Moves the partition, and returns up to which time raw events have been dropped. `None` if the
/// batch does not follow on what is stored; [`refusal`] says why.
pub(super) async fn advance(
    session: &Session,
    statement: &Statement,
    batch: &CommitBatch,
) -> Sql<Option<Option<Timestamp>>> {
    let last = batch.last;
    let row = session
        .query_opt(
            statement,
            &[
                &number(batch.partition)?,
                &(batch.epoch as i64),
                &(batch.from as i64),
                &(batch.to as i64),
                &Uuid::from_u128(batch.log),
                &last.map(|l| l.offset as i64),
                &last.map(|l| l.time.as_millis()),
                &last.map(|l| l.hash as i64),
            ],
        )
        .await?;
    Ok(row.map(|row| events::horizon(row.get(0))))
}

/// The error of a batch that does not follow on what is stored.
pub(super) async fn refusal(session: &Session, batch: &CommitBatch) -> Sql<Error> {
    let partition = batch.partition;
    Ok(match check_claim(&claimed(session, partition).await?, batch) {
        Err(refusal) => refusal,
        Ok(()) => Error::retriable(format!("partition {partition} was moved while it was being checked")),
    })
}

/// The next offset of every partition.
pub(super) async fn all(session: &Session) -> Sql<Positions> {
    let select = session.prepare_cached("SELECT partition, position FROM positions").await?;
    let rows = session.query(&select, &[]).await?;
    Ok(rows.iter().map(|row| (partition_at(row, 0), row.get::<_, i64>(1) as Offset)).collect())
}
