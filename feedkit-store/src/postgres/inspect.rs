//! The history's answers to operators.

use async_trait::async_trait;
use feedkit_core::inspect::{RejectedRecord, Verification};
use feedkit_core::{Inspect, Offset, Partition, Result};
use tokio_postgres::Row;

use super::connection::Session;
use super::failure::Sql;
use super::history::PostgresHistory;
use super::numbers::limited;
use super::numbers::partition_at;
use super::pool::{reading, transaction};
use super::sql_time::SqlTime;
use super::verify;

/// `verify` counts the data of one moment. Rejected records are those of the last commit.
#[async_trait]
impl Inspect for PostgresHistory {
    async fn rejected(
        &self,
        after: Option<(Partition, Offset)>,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>> {
        reading!(self.store.database(), session => rejected(session, after, limit).await)
    }

    async fn verify(&self) -> Result<Verification> {
        let (likes, trending) = (self.store.policy.likes, self.store.trending());
        transaction!(self.store.database(), "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", session => verify::verify(session, likes, &trending).await)
    }
}

async fn rejected(
    session: &Session,
    after: Option<(Partition, Offset)>,
    limit: usize,
) -> Sql<Vec<RejectedRecord>> {
    let select = session
        .prepare_cached(
            "SELECT partition, \"offset\", time, reason, field, detail, value, size FROM rejected \
             WHERE (partition, \"offset\") > ($1, $2) ORDER BY partition, \"offset\", log LIMIT $3",
        )
        .await?;
    let (partition, offset) = after.map_or((-1, -1), |(p, o)| (p.0 as i32, o as i64));
    let rows = session.query(&select, &[&partition, &offset, &limited(limit)]).await?;
    let record = |row: &Row| RejectedRecord {
        partition: partition_at(row, 0),
        offset: row.get::<_, i64>(1) as Offset,
        time: row.get::<_, SqlTime>(2).0,
        reason: row.get(3),
        field: row.get(4),
        detail: row.get(5),
        value: String::from_utf8_lossy(row.get(6)).into_owned(),
        size: row.get::<_, i64>(7) as u64,
    };
    Ok(rows.iter().map(record).collect())
}
