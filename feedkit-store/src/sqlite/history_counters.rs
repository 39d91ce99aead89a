//! The history's own totals as a counter store.

use async_trait::async_trait;
use feedkit_core::counters::{ChunkOutcome, CounterChunk, CounterStore, Fence, RebuildToken};
use feedkit_core::history::PostTotals;
use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::{Error, History, Partition, Positions, PostId, Queries, Result, Timestamp};
use rusqlite::Connection;

use super::history::SqliteHistory;
use super::totals::HISTORY;

/// A [`CounterStore`] whose counts are the totals that a [`SqliteHistory`] moves in its own commits: always as far as
/// the history, never to be fed or rebuilt by a follower. Each [`apply`](CounterStore::apply) finds its chunk counted
/// already.
#[derive(Debug, Clone)]
pub struct HistoryCounters {
    history: SqliteHistory,
}

impl SqliteHistory {
    /// This history's totals, for whoever asks a counter store.
    pub fn counters(&self) -> HistoryCounters {
        HistoryCounters { history: self.clone() }
    }
}

fn not_here() -> Error {
    Error::fatal("these counters are the history's own totals: they are computed anew by `rebuild_totals`")
}

#[async_trait]
impl CounterStore for HistoryCounters {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        let position = self.history.positions().await?.of(partition);
        let incarnation = self.history.incarnation().await?;
        Ok((position > 0).then_some(Fence { position, chunk: 0, incarnation }))
    }

    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        let fence = self.fence(chunk.partition).await?;
        let is_counted = fence.is_some_and(|fence| {
            chunk.fence.position < fence.position && chunk.fence.incarnation == fence.incarnation
        });
        Ok(if is_counted { ChunkOutcome::Skipped } else { ChunkOutcome::Gap(fence) })
    }

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

    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        Err(not_here())
    }

    async fn load(&self, _: RebuildToken, _: &[PostTotals]) -> Result<()> {
        Err(not_here())
    }

    async fn finish_rebuild(&self, _: RebuildToken, _: &Positions, _: u128) -> Result<()> {
        Err(not_here())
    }
}
