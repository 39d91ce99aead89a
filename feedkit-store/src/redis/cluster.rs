//! Counting in a cluster: how a chunk is applied to many shards.

use feedkit_core::counters::{ChunkOutcome, CounterChunk, Fence};
use feedkit_core::{Partition, Result};
use futures_util::future::{join_all, try_join_all};

use super::changes::Changes;
use super::counters::RedisCounters;
use super::fence::{Mark, encode_incarnation};
use super::keys::SHARDS;
use super::script::ADVANCE;
use super::shard::{Applied, Part};
use super::view::View;

impl RedisCounters {
    /// Asks all shards for their fences, and returns the fence of all of them together.
    pub(super) async fn fence_of_all(&self, partition: Partition) -> Result<Option<Fence>> {
        Ok(self.view(partition).await?.and_then(|view| view.fence()))
    }

    /// Applies each shard's part, then records at the partition's home that all shards have counted
    /// the chunk.
    pub(super) async fn apply_by_shard(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        let (partition, from) = (chunk.partition, Mark::of(&chunk.fence));
        let known = self.known(partition).filter(|view| view.at >= from);
        let view = match known {
            Some(view) => view,
            None => match self.view(partition).await? {
                Some(view) => view,
                None => return Ok(ChunkOutcome::Gap(None)),
            },
        };
        if view.incarnation.is_some_and(|known| known != chunk.fence.incarnation) || view.at < from {
            return Ok(ChunkOutcome::Gap(view.fence()));
        }
        if view.at > from {
            return Ok(ChunkOutcome::Skipped);
        }
        let mut parts: Vec<Changes<'_>> = (0..SHARDS).map(|_| Changes::default()).collect();
        for delta in &chunk.deltas {
            parts[self.shared.keys.shard_of(&delta.post)].add(delta)?;
        }
        let touched: Vec<_> = (0..SHARDS).filter(|shard| !parts[*shard].is_empty()).collect();
        let apply = touched.iter().map(|&shard| {
            let least = view.seen[shard].min(from);
            self.apply_part(
                shard,
                Part { chunk, generation: &view.generation, least, changes: &parts[shard] },
            )
        });
        // Wait for all of them, even if one fails: all commands have been sent.
        for outcome in join_all(apply).await {
            if let Applied::Gap(..) = outcome? {
                return self.gap(partition).await;
            }
        }
        match self.advance(&view, chunk, &touched).await? {
            Applied::Gap(..) => return self.gap(partition).await,
            outcome => {
                self.advanced(chunk, &touched);
                Ok(if outcome == Applied::Done { ChunkOutcome::Applied } else { ChunkOutcome::Skipped })
            }
        }
    }

    /// Records a chunk at its partition's home.
    async fn advance(&self, view: &View, chunk: &CounterChunk, touched: &[usize]) -> Result<Applied> {
        let partition = chunk.partition;
        let home = &self.shared.keys.shards()[self.shared.keys.home_of(partition)];
        let incarnation = encode_incarnation(chunk.fence.incarnation);
        let (from, upto) = (Mark::of(&chunk.fence).encode(), Mark::of(&chunk.next).encode());
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&home.prefix).arg(partition.0).arg(&view.generation).arg(&incarnation);
            command.arg(&from).arg(&upto).arg(touched);
        };
        Applied::read(ADVANCE.doing(), self.shared.run(&ADVANCE, &home.state, arguments).await?)
    }

    /// A shard has another fence than was last seen: asks all shards again.
    async fn gap(&self, partition: Partition) -> Result<ChunkOutcome> {
        Ok(ChunkOutcome::Gap(self.view(partition).await?.and_then(|view| view.fence())))
    }

    fn known(&self, partition: Partition) -> Option<View> {
        self.shared.views.lock().get(&partition).cloned()
    }

    /// Asks all shards, and remembers the answer.
    async fn view(&self, partition: Partition) -> Result<Option<View>> {
        let home = self.shared.keys.home_of(partition);
        let look = |shard| self.look(shard, partition, if shard == home { SHARDS } else { 0 });
        let view = View::new(&try_join_all((0..SHARDS).map(look)).await?, home);
        let mut views = self.shared.views.lock();
        match &view {
            Some(view) => views.insert(partition, view.clone()),
            None => views.remove(&partition),
        };
        Ok(view)
    }

    /// Remembers that all shards have counted a chunk.
    fn advanced(&self, chunk: &CounterChunk, touched: &[usize]) {
        let (from, upto) = (Mark::of(&chunk.fence), Mark::of(&chunk.next));
        let mut views = self.shared.views.lock();
        // The view may have been replaced in the meantime by one with another fence.
        if let Some(view) = views.get_mut(&chunk.partition).filter(|view| view.at == from) {
            view.at = upto;
            view.begun = true;
            view.incarnation = Some(chunk.fence.incarnation);
            touched.iter().for_each(|&shard| view.seen[shard] = view.seen[shard].max(upto));
        }
    }
}
