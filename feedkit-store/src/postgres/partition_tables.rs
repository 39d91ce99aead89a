//! Making the tables of time partitions before they are needed.

use feedkit_core::{Result, Timestamp};

use super::pool::{Pool, transaction};
use super::time_partition::{TimePartition, TimePartitions};

/// Makes the tables of those `leaves` that are not among the `known` and do not exist yet. It uses a
/// transaction of its own, so that others need not wait for the caller's.
pub(super) async fn ensure(pool: &Pool, known: &TimePartitions, leaves: &[TimePartition]) -> Result<()> {
    let missing = known.missing(leaves);
    if missing.is_empty() {
        return Ok(());
    }
    transaction!(pool, session => {
        for leaf in &missing {
            let add = session.prepare_cached(leaf.add_statement()).await?;
            session.query_one(&add, &[&leaf.number()]).await?;
        }
        Ok(())
    })
    .map_err(|e| e.context(format!("making the partition {}", missing[0])))?;
    known.add(missing);
    Ok(())
}

/// Makes the tables of the next days and months.
pub(super) async fn make_ahead(pool: &Pool, known: &TimePartitions, now: Timestamp) -> Result<()> {
    let day = std::time::Duration::from_secs(86_400);
    let mut leaves = Vec::new();
    for days in 0..8 {
        leaves.push(TimePartition::day_of(now.saturating_add(days * day))?);
    }
    let mut month = TimePartition::month_of(now)?;
    for _ in 0..3 {
        leaves.push(month);
        month = TimePartition::month_of(month.end())?;
    }
    ensure(pool, known, &leaves).await
}
