//! The alert follower's lease.

use feedkit_core::Timestamp;
use feedkit_core::backend::alert_log as backend;
use feedkit_core::lease::Lease;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Sql;

/// The only shard of rules so far. Rows have its number, so that there can be more later.
pub(super) const SHARD: i64 = 0;

/// The lease as it is stored.
pub(super) fn load_lease(connection: &Connection) -> Sql<Option<Lease>> {
    let mut select =
        connection.prepare_cached("SELECT owner, epoch, until FROM alert_lease WHERE shard = ?1")?;
    let lease = select.query_row([SHARD], |row| {
        let until = Timestamp::from_millis(row.get(2)?);
        Ok(Lease { owner: row.get(0)?, epoch: row.get(1)?, until })
    });
    Ok(lease.optional()?)
}

/// Stores a lease.
pub(super) fn set_lease(connection: &Connection, lease: &Lease) -> Sql<()> {
    connection
        .prepare_cached(
            "INSERT INTO alert_lease (shard, owner, epoch, until) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (shard) DO UPDATE
             SET owner = excluded.owner, epoch = excluded.epoch, until = excluded.until",
        )?
        .execute(params![SHARD, lease.owner, lease.epoch, lease.until.as_millis()])?;
    Ok(())
}

/// Refuses a lease that is no longer held.
pub(super) fn check_lease(connection: &Connection, lease: &Lease) -> Sql<()> {
    Ok(backend::check_lease(load_lease(connection)?.as_ref(), lease)?)
}
