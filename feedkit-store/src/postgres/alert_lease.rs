//! The alert follower's lease.

use feedkit_core::backend::alert_log as backend;
use feedkit_core::lease::Lease;
use feedkit_core::{Epoch, Error, Timestamp};

use super::connection::Session;
use super::failure::Sql;
use super::sql_time::SqlTime;

/// The only shard of rules so far. Rows have its number, so that there can be more later.
pub(super) const SHARD: i32 = 0;

/// Locks the lease's row, and refuses a lease that is no longer held.
pub(super) async fn hold_lease(session: &Session, lease: &Lease) -> Sql<()> {
    Ok(backend::check_lease(Some(&lock_lease(session).await?), lease)?)
}

/// Locks the lease's row together with others that share it, and refuses a lease that is no longer
/// held.
pub(super) async fn hold_lease_shared(session: &Session, lease: &Lease) -> Sql<()> {
    Ok(backend::check_lease(Some(&share_lease(session).await?), lease)?)
}

/// Locks and reads the lease. Until the transaction ends, nobody else changes it, or writes under
/// it.
pub(super) async fn lock_lease(session: &Session) -> Sql<Lease> {
    read_lease(session, "SELECT owner, epoch, until FROM alert_lease WHERE shard = $1 FOR UPDATE").await
}

/// Reads the lease, and whether it has not expired.
pub(super) async fn look(session: &Session) -> Sql<(Lease, bool)> {
    let lease = read_lease(session, "SELECT owner, epoch, until FROM alert_lease WHERE shard = $1").await?;
    let holds = !lease.owner.is_empty() && lease.until > now(session).await?;
    Ok((lease, holds))
}

/// The time by the server's clock, which decides when a lease ends. The owners' clocks differ.
pub(super) async fn now(session: &Session) -> Sql<Timestamp> {
    let select = session.prepare_cached("SELECT clock_timestamp()").await?;
    Ok(session.query_one(&select, &[]).await?.get::<_, SqlTime>(0).0)
}

/// Stores a lease.
pub(super) async fn set_lease(session: &Session, lease: &Lease) -> Sql<()> {
    let update = session
        .prepare_cached("UPDATE alert_lease SET owner = $2, epoch = $3, until = $4 WHERE shard = $1")
        .await?;
    let (epoch, until) = (lease.epoch as i64, SqlTime(lease.until));
    session.execute(&update, &[&SHARD, &lease.owner, &epoch, &until]).await?;
    Ok(())
}

/// Reads the lease under a lock that others can share. Until the transaction ends, nobody changes
/// it.
async fn share_lease(session: &Session) -> Sql<Lease> {
    read_lease(session, "SELECT owner, epoch, until FROM alert_lease WHERE shard = $1 FOR SHARE").await
}

async fn read_lease(session: &Session, select: &str) -> Sql<Lease> {
    let select = session.prepare_cached(select).await?;
    let row = session.query_opt(&select, &[&SHARD]).await?;
    let row = row.ok_or_else(|| Error::corrupt("the row of the alert lease is missing"))?;
    Ok(Lease { owner: row.get(0), epoch: row.get::<_, i64>(1) as Epoch, until: row.get::<_, SqlTime>(2).0 })
}
