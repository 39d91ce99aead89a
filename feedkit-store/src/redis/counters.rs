//! Counters on Redis.

use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::counters::{ChunkOutcome, CounterChunk, CounterStore, Fence, MAX_CHUNK, RebuildToken};
use feedkit_core::history::PostTotals;
use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::trending::Trending;
use feedkit_core::{Counts, Error, Partition, Positions, PostId, Result, Timestamp};

use super::changes::Changes;
use super::fence::{Mark, encode_incarnation};
use super::script::{APPLY, LOOK};
use super::shard::{Applied, Part, Standing};
use super::shared::Shared;

/// A [`CounterStore`] on Redis. One script applies a chunk; in a cluster, one for each shard that
/// the chunk touches.
#[derive(Debug, Clone)]
pub struct RedisCounters {
    pub(super) shared: Arc<Shared>,
    pub(super) trending: Trending,
}

impl RedisCounters {
    pub(super) fn new(shared: Arc<Shared>, trending: Trending) -> Self {
        RedisCounters { shared, trending }
    }

    /// Sets how trending scores fade. The scores in the chunks must be made with the same
    /// `trending`.
    pub fn with_trending(mut self, trending: Trending) -> Self {
        self.trending = trending;
        self
    }

    /// Applies a chunk to the only shard.
    async fn apply_whole(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        let mut changes = Changes::default();
        chunk.deltas.iter().try_for_each(|delta| changes.add(delta))?;
        let from = Mark::of(&chunk.fence);
        // If the stored fence is before the chunk's, a chunk is missing.
        let part = Part { chunk, generation: "", least: from, changes: &changes };
        match self.apply_part(0, part).await? {
            Applied::Done => Ok(ChunkOutcome::Applied),
            Applied::Skipped => Ok(ChunkOutcome::Skipped),
            Applied::Gap(at, incarnation) => {
                Ok(ChunkOutcome::Gap(at.zip(incarnation).map(|(at, incarnation)| at.fence(incarnation))))
            }
        }
    }

    /// Applies the part of a chunk that belongs to one shard.
    pub(super) async fn apply_part(&self, shard: usize, part: Part<'_>) -> Result<Applied> {
        let shard = &self.shared.keys.shards()[shard];
        let Part { chunk, generation, least, changes } = part;
        let (partition, incarnation) = (chunk.partition.0, encode_incarnation(chunk.fence.incarnation));
        let (from, upto) = (Mark::of(&chunk.fence).encode(), Mark::of(&chunk.next).encode());
        let (least, packed) = (least.encode(), changes.encode());
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&shard.prefix).arg(partition).arg(generation).arg(&incarnation);
            command.arg(&least).arg(&from).arg(&upto).arg(&packed[..]);
        };
        Applied::read(APPLY.doing(), self.shared.run(&APPLY, &shard.state, arguments).await?)
    }

    /// Asks one shard for its fences.
    pub(super) async fn look(&self, shard: usize, partition: Partition, notes: usize) -> Result<Standing> {
        let shard = &self.shared.keys.shards()[shard];
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&shard.prefix).arg(partition.0).arg(notes);
        };
        Standing::read(self.shared.run(&LOOK, &shard.state, arguments).await?)
    }
}

#[async_trait]
impl Counts for RedisCounters {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        self.read_posts(posts).await
    }

    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        self.read_top(limit).await
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.read_trending(now, limit).await
    }
}

#[async_trait]
impl CounterStore for RedisCounters {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        if !self.shared.keys.is_single() {
            return self.fence_of_all(partition).await;
        }
        let standing = self.look(0, partition, 0).await?;
        Ok(standing.fence.zip(standing.incarnation).map(|(at, incarnation)| at.fence(incarnation)))
    }

    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        if chunk.deltas.len() > MAX_CHUNK {
            let len = chunk.deltas.len();
            return Err(Error::invalid(format!("a chunk has {len} deltas; the maximum is {MAX_CHUNK}")));
        }
        match self.shared.keys.is_single() {
            true => self.apply_whole(chunk).await,
            false => self.apply_by_shard(chunk).await,
        }
    }

    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        self.begin().await
    }

    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        self.load_totals(token, totals).await
    }

    async fn finish_rebuild(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()> {
        self.finish(token, positions, incarnation).await
    }
}
