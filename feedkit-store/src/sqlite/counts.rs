//! The history's own totals as counts.

use async_trait::async_trait;
use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::{Counts, PostId, Queries, Result, Timestamp};
use rusqlite::Connection;

use super::history::SqliteHistory;
use super::totals::HISTORY;

/// [`Counts`] from the totals that a [`SqliteHistory`] changes in its own commits. They are never
/// behind the history, and no follower feeds them.
#[derive(Debug, Clone)]
pub struct SqliteCounts {
    history: SqliteHistory,
}

impl SqliteHistory {
    /// Returns this history's totals as counts.
    pub fn counts(&self) -> SqliteCounts {
        SqliteCounts { history: self.clone() }
    }
}

#[async_trait]
impl Counts for SqliteCounts {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        let posts = posts.to_vec();
        let views = move |connection: &Connection| {
            let view = |post: PostId| {
                let view = HISTORY.view(connection, post.clone())?;
                Ok(view.unwrap_or_else(|| PostView::new(post, None, [])))
            };
            posts.into_iter().map(view).collect()
        };
        self.history.state.read(views).await
    }

    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        Queries::top(&self.history, None, limit).await
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        Queries::trending(&self.history, now, limit).await
    }
}
