//! The state that all parts of one [`Postgres`](super::Postgres) share.

use std::sync::Arc;

use feedkit_core::Clock;
use feedkit_core::trending::Trending;
use tokio::sync::Notify;

use super::database::Database;
use super::options::PostgresOptions;
use super::policy::Policy;

/// The shared state, and how effects are counted.
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

    /// How trending scores fade.
    pub(super) fn trending(&self) -> Trending {
        self.policy.trending
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// The state that all parts of one [`Postgres`](super::Postgres) share.
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) options: PostgresOptions,
    pub(super) clock: Arc<dyn Clock>,
    /// Every commit sets it, and the notifier waits for it.
    pub(super) committed: Signal,
}

/// A signal that this process has committed. Several signals at once become one.
#[derive(Debug, Default)]
pub(super) struct Signal(Notify);

impl Signal {
    /// Signals a commit.
    pub(super) fn set(&self) {
        self.0.notify_one();
    }

    /// Waits for a commit since the last call.
    pub(super) async fn wait(&self) {
        self.0.notified().await;
    }
}
