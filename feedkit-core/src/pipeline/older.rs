//! Keeping the order of each key when the log gets more partitions.
//!
//! Some keys move to a new partition. Their earlier records are in an older partition, and must be
//! committed first. A new partition therefore waits until the older ones are committed up to the
//! offsets at which they ended when its first record was read.
//!
//! It does not wait before its first record, because a writer may notice a new partition later than
//! a reader. Records that are read meanwhile wait in the inbox, which pauses the partition when it
//! is full.

use std::time::Duration;

use super::assignment::Assignment;
use super::inbox::Inbox;
use crate::history::Claim;
use crate::{Partition, Result};

/// How often a new partition checks the positions of the older ones.
const LOOK: Duration = Duration::from_millis(50);

/// The partitions that a new one may have to wait for, at the time of its claim. `None` if the new
/// partition has no record yet. [`committed_from`] then tells when its first record arrives.
///
/// When a group starts to read an existing log, it claims all partitions before any of them
/// continues, so that no partition waits. A partition that is claimed later waits, although it need
/// not.
pub(super) async fn as_of_claim(assignment: &Assignment) -> Result<Option<Vec<Partition>>> {
    let older = committed_from(assignment).await?;
    let ends = assignment.patiently(|| assignment.ends()).await?;
    assignment.running(0);
    Ok((ends.of(assignment.place.partition) > 0).then_some(older))
}

/// The other partitions that records were committed from.
pub(super) async fn committed_from(assignment: &Assignment) -> Result<Vec<Partition>> {
    let positions = assignment.patiently(|| assignment.shared.history.positions()).await?;
    let others = positions.iter().filter(|(p, at)| *p != assignment.place.partition && *at > 0);
    Ok(others.map(|(partition, _)| partition).collect())
}

/// Waits until the `older` partitions are committed up to where they end now. The first record of
/// the new partition is in the inbox.
pub(super) async fn wait_for(
    older: &[Partition],
    assignment: &Assignment,
    inbox: &Inbox,
    claim: &Claim,
) -> Result<()> {
    if older.is_empty() {
        return Ok(());
    }
    let ends = assignment.patiently(|| assignment.ends()).await?;
    let target = older.iter().map(|partition| (*partition, ends.of(*partition))).collect();
    while !inbox.is_closed() {
        match assignment.shared.history.positions().await {
            Ok(positions) if positions.covers(&target) => break,
            Ok(_) => {
                if assignment.waiting() {
                    let partition = assignment.place.partition.0;
                    tracing::info!(partition, ?target, "a new partition waits for the older ones");
                }
            }
            Err(error) if error.is_retriable() => assignment.trouble(&error),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK).await;
    }
    assignment.running(claim.position);
    Ok(())
}
