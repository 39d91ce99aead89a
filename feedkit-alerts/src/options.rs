//! How the alert follower is run.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::engine::Limits;

/// How the alert follower is run.
///
/// ```
/// let mut options = feedkit_alerts::AlertOptions::default();
/// options.lease_ttl = std::time::Duration::from_secs(5);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AlertOptions {
    /// Name of the lease's owner. No other process may use it, and no other follower of this
    /// process. Random by default.
    pub owner: String,
    /// How long a lease is valid without being renewed. When the owner dies, the alerts stop for
    /// this long. 10 s by default.
    pub lease_ttl: Duration,
    /// How long effects may wait for partitions that lag behind in event time. 5 s by default.
    pub max_hold: Duration,
    /// Maximum number of effects that may wait for such partitions. 200,000 by default.
    pub max_pending: usize,
    /// Number of effects in a step when more than twice as many can be consumed. It bounds the
    /// memory that a step takes. 10,000 by default.
    ///
    /// A step may have more effects: those with the same time stay together, and so do those of one
    /// partition that wait behind a later effect.
    pub max_step: usize,
    /// Number of effects between two snapshots. 500,000 by default.
    ///
    /// There are at least as many effects between two snapshots as there are states, so that large
    /// tables are not written too often.
    pub snapshot_effects: u64,
    /// How long after a snapshot the next one is taken at the latest. 60 s by default.
    pub snapshot_interval: Duration,
    /// Number of exact states that change before a snapshot is taken. 100,000 by default.
    ///
    /// If snapshots fail, the follower stops taking in effects at twice this number.
    pub max_dirty: usize,
    /// Maximum number of watched keys of each rule. 1,024 by default.
    pub max_watched: usize,
    /// Maximum number of exact states of each rule that stay in memory after a snapshot. 200,000 by
    /// default.
    pub max_cached: usize,
}

impl Default for AlertOptions {
    /// The defaults that each field names.
    fn default() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        AlertOptions {
            owner: format!("{:016x}{:016x}", random(), random()),
            lease_ttl: Duration::from_secs(10),
            max_hold: Duration::from_secs(5),
            max_pending: 200_000,
            max_step: 10_000,
            snapshot_effects: 500_000,
            snapshot_interval: Duration::from_secs(60),
            max_dirty: 100_000,
            max_watched: 1024,
            max_cached: 200_000,
        }
    }
}

impl AlertOptions {
    pub(crate) fn limits(&self) -> Limits {
        Limits { watched: self.max_watched, cached: self.max_cached }
    }
}
