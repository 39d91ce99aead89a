//! What everything made from one [`Postgres`](super::Postgres) shares.

use std::sync::Arc;

use feedkit_core::Clock;
use feedkit_core::trending::Trending;
use tokio::sync::Notify;

use super::database::Database;
use super::options::PostgresOptions;
use super::policy::Policy;

/// The shared parts, and how effects are counted.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) policy: Policy,
}

impl Handle {
    /// The database.
    pub(super) fn database(&self) -> &Database {
        &self.shared.database
    }

    /// How scores fade here.
    pub(super) fn trending(&self) -> Trending {
        self.policy.trending
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// What everything made from one [`Postgres`] shares.
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) options: PostgresOptions,
    pub(super) clock: Arc<dyn Clock>,
    /// Set by every commit, taken by the notifier.
    pub(super) committed: Signal,
}

/// Something was committed here. Many at once are one.
#[derive(Debug, Default)]
pub(super) struct Signal(Notify);

impl Signal {
    /// Something was committed.
    pub(super) fn set(&self) {
        self.0.notify_one();
    }

    /// Waits until something was committed here since the last call.
    pub(super) async fn wait(&self) {
        self.0.notified().await;
    }
}
