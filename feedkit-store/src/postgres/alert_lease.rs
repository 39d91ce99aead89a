//! The alert follower's lease.

use feedkit_core::backend::alert_log as backend;
use feedkit_core::lease::Lease;
use feedkit_core::{Epoch, Error};

use super::connection::Session;
use super::failure::Sql;
use super::sql_time::SqlTime;

/// There is one shard of rules so far; rows bear its number for the day there are more.
pub(super) const SHARD: i32 = 0;
/// Locks the lease's row, and refuses a lease that is no longer held.
pub(super) async fn hold_lease(session: &Session, lease: &Lease) -> Sql<()> {
    Ok(backend::check_lease(Some(&lock_lease(session).await?), lease)?)
}

/// Does the same, but shares the row with others that do.
pub(super) async fn hold_lease_shared(session: &Session, lease: &Lease) -> Sql<()> {
    Ok(backend::check_lease(Some(&share_lease(session).await?), lease)?)
}

/// The lease as it is stored. Its row stays locked until the transaction ends, and so does everything that is written
/// under the lease.
pub(super) async fn lock_lease(session: &Session) -> Sql<Lease> {
    read_lease(session, "SELECT owner, epoch, until FROM alert_lease WHERE shard = $1 FOR UPDATE").await
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

/// The lease as it is stored. Nobody changes it until the transaction ends, but others may share the lock.
async fn share_lease(session: &Session) -> Sql<Lease> {
    read_lease(session, "SELECT owner, epoch, until FROM alert_lease WHERE shard = $1 FOR SHARE").await
}

async fn read_lease(session: &Session, select: &str) -> Sql<Lease> {
    let select = session.prepare_cached(select).await?;
    let row = session.query_opt(&select, &[&SHARD]).await?;
    let row = row.ok_or_else(|| Error::corrupt("the row of the alerts' lease is missing"))?;
    Ok(Lease { owner: row.get(0), epoch: row.get::<_, i64>(1) as Epoch, until: row.get::<_, SqlTime>(2).0 })
}
