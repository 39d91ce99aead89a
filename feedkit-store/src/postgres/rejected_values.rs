//! Reading rejected records, to try them again.

use bytes::Bytes;
use feedkit_core::{Offset, Partition, Result, Timestamp};
use uuid::Uuid;

use super::history::PostgresHistory;
use super::numbers::{limited, number, partition_at};
use super::pool::{reading, transaction};
use super::sql_time::SqlTime;

/// The place of a rejected record in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RejectedKey {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// The log's incarnation.
    pub log: u128,
}

/// A rejected record with its bytes, which another configuration may accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedValue {
    /// Its place in the log.
    pub key: RejectedKey,
    /// Its time in the log.
    pub time: Timestamp,
    /// The reason for which it was rejected.
    pub reason: String,
    /// Its first bytes.
    pub value: Bytes,
    /// Whether these are all of them.
    pub whole: bool,
}

impl PostgresHistory {
    /// Returns rejected records with their bytes, by partition, offset and log, those after
    /// `after`.
    ///
    /// To try one again, decode it with its own place: an event without an id gets its id from the
    /// place. Send the event, encoded with that id, and only then [remove](Self::remove_rejected)
    /// the record. If this is interrupted and done again, the second event is a repeat.
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
                session.query(&select, &[&partition, &offset, &log, &limited(limit)]).await?;
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

    /// Removes rejected records, and returns how many there were.
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
