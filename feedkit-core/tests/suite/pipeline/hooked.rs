//! A history that a test can hold up, break, or lie with.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use feedkit_core::history::{
    Claim, CommitBatch, Committed, JournalRead, Retained, RetentionPolicy, Snapshot,
};
use feedkit_core::memory::MemoryHistory;
use feedkit_core::{Error, History, Offset, Partition, Positions, Result, Timestamp};
use tokio::sync::{Notify, Semaphore};

/// What becomes of one commit.
pub(super) enum Act {
    Pass,
    /// Waits until the test lets it go on.
    Hold,
    Fail(Error),
    /// Commits, and then fails with this.
    CommitThenFail(Error),
}

type Hook = Box<dyn FnMut(&CommitBatch) -> Act + Send>;

/// Wraps a history; every commit asks `hook` first.
pub(super) struct Hooked {
    inner: Arc<MemoryHistory>,
    hook: Mutex<Hook>,
    /// Told when a commit is held.
    pub(super) held: Notify,
    /// A permit lets one held commit go on.
    pub(super) go_on: Semaphore,
}

impl Hooked {
    pub(super) fn new(
        inner: Arc<MemoryHistory>,
        hook: impl FnMut(&CommitBatch) -> Act + Send + 'static,
    ) -> Arc<Self> {
        let hook: Hook = Box::new(hook);
        Arc::new(Hooked { inner, hook: Mutex::new(hook), held: Notify::new(), go_on: Semaphore::new(0) })
    }
}

#[async_trait]
impl History for Hooked {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        self.inner.claim(partition, group).await
    }
    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        self.inner.claimed(partition).await
    }
    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        let act = self.hook.lock().unwrap()(&batch);
        match act {
            Act::Pass => self.inner.commit(batch).await,
            Act::Hold => {
                self.held.notify_one();
                self.go_on.acquire().await.unwrap().forget();
                self.inner.commit(batch).await
            }
            Act::Fail(error) => Err(error),
            Act::CommitThenFail(error) => self.inner.commit(batch).await.and(Err(error)),
        }
    }
    async fn journal(&self, partition: Partition, from: Offset, most: usize) -> Result<JournalRead> {
        self.inner.journal(partition, from, most).await
    }
    async fn positions(&self) -> Result<Positions> {
        self.inner.positions().await
    }
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot().await
    }
    async fn incarnation(&self) -> Result<u128> {
        self.inner.incarnation().await
    }
    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()> {
        self.inner.note_follower(follower, partition, position).await
    }
    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
        self.inner.retain(policy, now).await
    }
    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        self.inner.accept_gap(partition, log, to, now).await
    }
}
