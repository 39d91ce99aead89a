use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::lease::Lease;
use tokio::sync::{Notify, watch};

use crate::engine::Limits;

/// How the alert follower goes about its work.
#[derive(Debug, Clone)]
pub struct AlertOptions {
    /// Who holds the lease: a name that no other process uses, and no other follower of this one. Random unless
    /// set.
    pub owner: String,
    /// How long a lease is valid without being renewed: how long the alerts stand still when their owner dies.
    pub lease_ttl: Duration,
    /// How long effects may wait for partitions that lag behind in event time.
    pub max_hold: Duration,
    /// How many effects may.
    pub max_pending: usize,
    /// How many effects make a step, where more than twice as many are to be caught up with: what a step takes of
    /// memory. More, where many are of one time, or wait behind one that is later than they are.
    pub max_step: usize,
    /// Effects between two snapshots; at least as many as there are states, so that large tables are not written
    /// over and over.
    pub snapshot_effects: u64,
    /// Time between two snapshots.
    pub snapshot_interval: Duration,
    /// How many exact states may be newer than the last snapshot before the next is due. At twice as many nothing
    /// more is taken in until it is kept.
    pub max_dirty: usize,
    /// What the rules may take of memory.
    pub limits: Limits,
}

impl Default for AlertOptions {
    /// A lease of 10 s; 5 s or 200,000 effects of waiting; steps of 10,000 effects where there are many; snapshots every 500,000 effects or 60 s or 100,000
    /// changed exact states.
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
            limits: Limits::default(),
        }
    }
}

/// What the follower lets others know: whether it holds the lease, and that it has written alerts.
#[derive(Debug, Clone)]
pub struct Signals {
    pub(crate) lease: watch::Receiver<Option<Lease>>,
    pub(crate) written: Arc<Notify>,
}

impl Signals {
    /// The lease, while the follower holds it.
    pub fn lease(&self) -> Option<Lease> {
        self.lease.borrow().clone()
    }

    /// Waits until alerts were written since the last call. Cancel-safe; for one waiter.
    pub async fn written(&self) {
        self.written.notified().await;
    }
}
