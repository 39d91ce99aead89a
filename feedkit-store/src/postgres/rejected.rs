//! Records that are no events: kept, and handed out to be tried again.

use bytes::Bytes;
use feedkit_core::history::{CommitBatch, Rejected};
use feedkit_core::{Offset, Partition, Result, Timestamp};
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::database::Session;
use super::database::{reading, transaction};
use super::failure::Sql;
use super::history::PostgresHistory;
use super::positions::{number, partition_at};
use super::sql_time::SqlTime;

/// About so many bytes of values are sent in one statement.
const BYTES: usize = 8 << 20;

/// Where a rejected record lay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RejectedKey {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// The log's incarnation.
    pub log: u128,
}

/// A rejected record with its bytes, to be looked at by another configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedValue {
    /// Where it lay.
    pub key: RejectedKey,
    /// Its time in the log.
    pub time: Timestamp,
    /// The sort of fault.
    pub reason: String,
    /// Its first bytes.
    pub value: Bytes,
    /// Whether these are all of them.
    pub whole: bool,
}

impl PostgresHistory {
    /// Rejected records with their bytes, by partition, offset and log, those after `after`.
    ///
    /// To try one again: decode it at its own place, so that an event without an id gets the id that its place gives,
    /// send the event encoded with that id, and only then [remove](Self::remove_rejected) the record. Cut off in
    /// between and done again, it is a repeat.
    pub async fn rejected_values(
        &self,
        after: Option<RejectedKey>,
        limit: usize,
    ) -> Result<Vec<RejectedValue>> {
        let after = after.map(|a| (a.partition.0 as i32, a.offset as i64, Uuid::from_u128(a.log)));
        let (partition, offset, log) = after.unwrap_or((-1, -1, Uuid::nil()));
        reading!(self.store.database(), session => {
            let select = session
                .prepare_cached(
                    "SELECT partition, \"offset\", log, time, reason, value, size FROM rejected \
                     WHERE (partition, \"offset\", log) > ($1, $2, $3) \
                     ORDER BY partition, \"offset\", log LIMIT $4",
                )
                .await?;
            let rows =
                session.query(&select, &[&partition, &offset, &log, &super::queries::limited(limit)]).await?;
            let value = |row: &tokio_postgres::Row| {
                let value: Vec<u8> = row.get(5);
                RejectedValue {
                    key: RejectedKey {
                        partition: partition_at(row, 0),
                        offset: row.get::<_, i64>(1) as Offset,
                        log: row.get::<_, Uuid>(2).as_u128(),
                    },
                    time: row.get::<_, SqlTime>(3).0,
                    reason: row.get(4),
                    whole: row.get::<_, i64>(6) == value.len() as i64,
                    value: value.into(),
                }
            };
            Ok(rows.iter().map(value).collect())
        })
    }

    /// Forgets rejected records; how many there were.
    pub async fn remove_rejected(&self, keys: &[RejectedKey]) -> Result<u64> {
        let partitions: Vec<i32> = keys.iter().map(|k| number(k.partition)).collect::<Result<_>>()?;
        let offsets: Vec<i64> = keys.iter().map(|k| k.offset as i64).collect();
        let logs: Vec<Uuid> = keys.iter().map(|k| Uuid::from_u128(k.log)).collect();
        transaction!(self.store.database(), session => {
            let delete = "DELETE FROM rejected r USING unnest($1::int[], $2::bigint[], $3::uuid[]) AS k (p, o, l) \
                          WHERE r.partition = k.p AND r.\"offset\" = k.o AND r.log = k.l";
            Ok(session.execute(delete, &[&partitions, &offsets, &logs]).await?)
        })
    }
}

/// Keeps rejected records of a batch. The same offset comes up again where a partition went back in the same log.
pub(super) async fn insert(session: &Session, batch: &CommitBatch, rejected: &[Rejected]) -> Sql<()> {
    if rejected.is_empty() {
        return Ok(());
    }
    let insert = session
        .prepare_cached(
            "INSERT INTO rejected (partition, log, \"offset\", time, reason, field, detail, value, size, hash) \
             SELECT $1, $2, * FROM unnest($3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], \
             $8::bytea[], $9::bigint[], $10::bigint[]) \
             ON CONFLICT (partition, \"offset\", log) DO UPDATE SET time = excluded.time, reason = excluded.reason, \
             field = excluded.field, detail = excluded.detail, value = excluded.value, size = excluded.size, \
             hash = excluded.hash",
        )
        .await?;
    let (partition, log) = (number(batch.partition)?, Uuid::from_u128(batch.log));
    let mut inserts = Vec::new();
    for some in portions(rejected) {
        let (insert, log) = (&insert, &log);
        inserts.push(async move {
            let offsets: Vec<i64> = some.iter().map(|r| r.offset as i64).collect();
            let times: Vec<SqlTime> = some.iter().map(|r| SqlTime(r.time)).collect();
            let reasons: Vec<&str> = some.iter().map(|r| r.fault.reason.as_str()).collect();
            let fields: Vec<Option<String>> =
                some.iter().map(|r| r.fault.field.as_deref().map(printable)).collect();
            let details: Vec<String> = some.iter().map(|r| printable(&r.fault.detail)).collect();
            let values: Vec<&[u8]> = some.iter().map(|r| &r.value[..]).collect();
            let sizes: Vec<i64> = some.iter().map(|r| r.size as i64).collect();
            let hashes: Vec<i64> = some.iter().map(|r| r.hash as i64).collect();
            session
                .execute(
                    insert,
                    &[
                        &partition, log, &offsets, &times, &reasons, &fields, &details, &values, &sizes,
                        &hashes,
                    ],
                )
                .await
        });
    }
    try_join_all(inserts).await?;
    Ok(())
}

/// Text in PostgreSQL takes no NUL, which what a message quotes may hold.
fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Cuts a list so that no statement grows without bounds.
fn portions(mut rejected: &[Rejected]) -> Vec<&[Rejected]> {
    let mut portions = Vec::new();
    while !rejected.is_empty() {
        let mut bytes = 0;
        let fits = rejected.iter().take_while(|r| {
            bytes += r.value.len() + 256;
            bytes <= BYTES
        });
        let count = fits.count().max(1);
        let (some, rest) = rejected.split_at(count);
        portions.push(some);
        rejected = rest;
    }
    portions
}
