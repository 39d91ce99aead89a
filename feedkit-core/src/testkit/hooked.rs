//! A history with hooks around its calls.

use std::sync::Arc;

use async_trait::async_trait;

use crate::history::{
    Claim, CommitBatch, Committed, History, JournalRead, Retained, RetentionPolicy, Snapshot,
};
use crate::inspect::{Inspect, RejectedRecord, Verification};
use crate::queries::{Activity, Bucket, Comment, CommentCursor, PostView, Queries, RankedPost};
use crate::{Offset, Partition, Positions, PostId, Result, Timestamp, UserId};

/// What a test does around the calls of a history. By default, the hooks do nothing.
#[async_trait]
pub trait Hooks<H: History>: Send + Sync + 'static {
    /// Replaces a commit.
    async fn commit(&self, inner: &H, batch: Arc<CommitBatch>) -> Result<Committed> {
        inner.commit(batch).await
    }

    /// Runs before each query of [`Queries`] and [`Inspect`]. If it fails, the query fails with its
    /// error.
    async fn query(&self) -> Result<()> {
        Ok(())
    }
}

/// A history that a test can delay, break, or watch. It passes all calls through `hooks` to
/// `inner`.
#[derive(Debug, Default)]
pub struct Hooked<H, K> {
    /// The wrapped history.
    pub inner: H,
    /// What the test does around its calls.
    pub hooks: K,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: History, K: Hooks<H>> History for Hooked<H, K> {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        self.inner.claim(partition, group).await
    }
    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        self.inner.claimed(partition).await
    }
    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        self.hooks.commit(&self.inner, batch).await
    }
    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        self.inner.journal(partition, from, max_effects).await
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

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: History + Queries, K: Hooks<H>> Queries for Hooked<H, K> {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>> {
        self.hooks.query().await?;
        self.inner.post(post).await
    }
    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>> {
        self.hooks.query().await?;
        self.inner.top(since, limit).await
    }
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.hooks.query().await?;
        self.inner.trending(now, limit).await
    }
    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>> {
        self.hooks.query().await?;
        self.inner.activity(post, by, from, to).await
    }
    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        self.hooks.query().await?;
        self.inner.comments(post, before, limit).await
    }
    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>> {
        self.hooks.query().await?;
        self.inner.liked(user, posts).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: History + Inspect, K: Hooks<H>> Inspect for Hooked<H, K> {
    async fn rejected(
        &self,
        after: Option<(Partition, Offset)>,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>> {
        self.hooks.query().await?;
        self.inner.rejected(after, limit).await
    }
    async fn verify(&self) -> Result<Verification> {
        self.hooks.query().await?;
        self.inner.verify().await
    }
}
