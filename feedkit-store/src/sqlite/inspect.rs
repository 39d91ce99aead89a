//! The history's answers to operators.

use async_trait::async_trait;
use feedkit_core::inspect::{RejectedRecord, Verification};
use feedkit_core::{Inspect, Offset, Partition, Result, Timestamp};
use rusqlite::{Connection, params};

use super::failure::Sql;
use super::history::SqliteHistory;
use super::verify;

#[async_trait]
impl Inspect for SqliteHistory {
    async fn rejected(
        &self,
        after: Option<(Partition, Offset)>,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>> {
        self.state.read(move |connection| rejected(connection, after, limit)).await
    }

    async fn verify(&self) -> Result<Verification> {
        let likes = self.policy().likes;
        self.state.read(move |connection| verify::verify(connection, likes)).await
    }
}

fn rejected(
    connection: &Connection,
    after: Option<(Partition, Offset)>,
    limit: usize,
) -> Sql<Vec<RejectedRecord>> {
    let mut select = connection.prepare_cached(
        "SELECT partition, offset, time, reason, field, detail, value, size FROM rejected \
         WHERE (partition, offset) > (?1, ?2) ORDER BY partition, offset LIMIT ?3",
    )?;
    let (partition, offset) = after.map_or((-1, -1), |(p, o)| (i64::from(p.0), o as i64));
    let rows = select.query_map(params![partition, offset, limit as i64], |row| {
        Ok(RejectedRecord {
            partition: Partition(row.get(0)?),
            offset: row.get::<_, i64>(1)? as Offset,
            time: Timestamp::from_millis(row.get(2)?),
            reason: row.get(3)?,
            field: row.get(4)?,
            detail: row.get(5)?,
            value: String::from_utf8_lossy(&row.get::<_, Vec<u8>>(6)?).into_owned(),
            size: row.get::<_, i64>(7)? as u64,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
