//! A history that a test can delay, break, or make lie.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use feedkit_core::history::{CommitBatch, Committed};
use feedkit_core::memory::MemoryHistory;
use feedkit_core::testkit::{Hooked, Hooks};
use feedkit_core::{Error, History, Result};
use tokio::sync::{Notify, Semaphore};

/// What the history does with one commit.
pub(super) enum Act {
    Pass,
    /// It waits until the test lets it go on.
    Hold,
    Fail(Error),
    /// It commits, and then fails with this error.
    CommitThenFail(Error),
}

type Acting = Box<dyn FnMut(&CommitBatch) -> Act + Send>;

/// Decides what the history does with each commit.
pub(super) struct Acts {
    act: Mutex<Acting>,
    /// Notified when a commit is held.
    pub(super) held: Notify,
    /// A permit lets one held commit go on.
    pub(super) go_on: Semaphore,
}

/// Wraps a history. Every commit asks `act` first.
pub(super) fn hooked(
    inner: Arc<MemoryHistory>,
    act: impl FnMut(&CommitBatch) -> Act + Send + 'static,
) -> Arc<Hooked<Arc<MemoryHistory>, Acts>> {
    let act: Acting = Box::new(act);
    let hooks = Acts { act: Mutex::new(act), held: Notify::new(), go_on: Semaphore::new(0) };
    Arc::new(Hooked { inner, hooks })
}

#[async_trait]
impl Hooks<Arc<MemoryHistory>> for Acts {
    async fn commit(&self, inner: &Arc<MemoryHistory>, batch: Arc<CommitBatch>) -> Result<Committed> {
        let act = self.act.lock().unwrap()(&batch);
        match act {
            Act::Pass => inner.commit(batch).await,
            Act::Hold => {
                self.held.notify_one();
                self.go_on.acquire().await.unwrap().forget();
                inner.commit(batch).await
            }
            Act::Fail(error) => Err(error),
            Act::CommitThenFail(error) => inner.commit(batch).await.and(Err(error)),
        }
    }
}
