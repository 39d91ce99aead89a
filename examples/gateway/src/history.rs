//! PostgreSQL, which the gateway may start without: writes need only Kafka.

use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::notification::Notification;
use feedkit_core::queries::{Activity, Bucket, Comment, CommentCursor, PostView, RankedPost};
use feedkit_core::{Alerts, PostId, Queries, Result, Timestamp, UserId};
use feedkit_server::services::Services;
use feedkit_store::postgres::{Postgres, PostgresRollups};
use tokio::sync::OnceCell;

/// The application name of the gateway's connections to PostgreSQL.
const NAME: &str = "feedkit-gateway";

/// Connects to PostgreSQL at the first call. If that fails, the next call tries again.
#[derive(Clone)]
pub struct LateHistory {
    services: Services,
    postgres: Arc<OnceCell<Postgres>>,
}

impl LateHistory {
    pub fn new(services: Services) -> Self {
        LateHistory { services, postgres: Arc::default() }
    }

    /// PostgreSQL, once connected.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) while it is away.
    pub async fn postgres(&self) -> Result<&Postgres> {
        self.postgres.get_or_try_init(|| self.services.postgres(NAME)).await
    }

    /// The rollups, which have totals and hourly sums.
    ///
    /// # Errors
    ///
    /// As for [`postgres`](LateHistory::postgres).
    pub async fn rollups(&self) -> Result<PostgresRollups> {
        Ok(self.postgres().await?.rollups())
    }

    /// Closes the connections.
    pub fn close(&self) {
        if let Some(postgres) = self.postgres.get() {
            postgres.close();
        }
    }
}

#[async_trait]
impl Queries for LateHistory {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>> {
        self.postgres().await?.history().post(post).await
    }
    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>> {
        self.postgres().await?.history().top(since, limit).await
    }
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.postgres().await?.history().trending(now, limit).await
    }
    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>> {
        self.postgres().await?.history().activity(post, by, from, to).await
    }
    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        self.postgres().await?.history().comments(post, before, limit).await
    }
    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>> {
        self.postgres().await?.history().liked(user, posts).await
    }
}

#[async_trait]
impl Alerts for LateHistory {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        self.postgres().await?.alert_log().alerts(before, limit).await
    }
}
