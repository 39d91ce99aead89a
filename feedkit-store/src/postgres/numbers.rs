//! feedkit's unsigned numbers as PostgreSQL's signed ones.

use feedkit_core::{Error, Partition, Result};
use tokio_postgres::Row;

/// The partition as PostgreSQL's signed integer.
pub(super) fn number(partition: Partition) -> Result<i32> {
    i32::try_from(partition.0).map_err(|_| Error::invalid(format!("there is no partition {partition}")))
}

/// The partition in a column.
pub(super) fn partition_at(row: &Row, column: usize) -> Partition {
    Partition(row.get::<_, i32>(column) as u32)
}

/// How many rows a query may return.
pub(super) fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
