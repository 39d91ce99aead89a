//! Making the tables of time partitions before they are needed.

use feedkit_core::{Result, Timestamp};

use super::database::{Database, transaction};
use super::time_partition::TimePartition;

/// Makes the tables of those `leaves` that do not exist yet. It uses a transaction of its own, so
/// that others need not wait for the caller's.
pub(super) async fn ensure(database: &Database, leaves: &[TimePartition]) -> Result<()> {
    let missing = database.leaves.missing(leaves);
    if missing.is_empty() {
        return Ok(());
    }
    transaction!(database, session => {
        for leaf in &missing {
            let add = session.prepare_cached(leaf.add_statement()).await?;
            session.query_one(&add, &[&leaf.number()]).await?;
        }
        Ok(())
    })
    .map_err(|e| e.context(format!("making the partition {}", missing[0])))?;
    database.leaves.add(missing);
    Ok(())
}

/// Makes the tables of the next days and months.
pub(super) async fn make_ahead(database: &Database, now: Timestamp) -> Result<()> {
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
    ensure(database, &leaves).await
}
