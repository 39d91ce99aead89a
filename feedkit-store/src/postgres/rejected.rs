//! Storing records that are not events.

use feedkit_core::history::{CommitBatch, Rejected};
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::connection::Session;
use super::failure::Sql;
use super::numbers::number;
use super::sql_time::SqlTime;

/// About how many bytes of values to send in one statement.
const BYTES: usize = 8 << 20;

/// Stores the rejected records of a batch. An offset may be stored already, if its partition went
/// back in the same log.
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

/// Replaces NUL, which PostgreSQL's text does not allow. A message may quote one.
fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Cuts a list into portions, so that statements stay bounded.
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
