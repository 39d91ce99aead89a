//! Counters in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::counters::{ChunkOutcome, CounterChunk, CounterStore, Fence, RebuildToken};
use crate::counts::Counts;
use crate::history::PostTotals;
use crate::queries::{PostView, RankedPost};
use crate::trending::{Score, Trending};
use crate::{Error, Partition, Positions, PostId, Result, Timestamp, UserId};

/// Counters in memory. Their contents are lost when they are dropped.
#[derive(Debug, Default)]
pub struct MemoryCounters {
    trending: Trending,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    posts: HashMap<PostId, Counted>,
    fences: BTreeMap<Partition, Fence>,
    /// The incarnation of the history. It is unknown before the first chunk or rebuild.
    incarnation: Option<u128>,
    rebuilding: bool,
    /// The token of the last rebuild.
    token: u64,
}

#[derive(Debug, Default)]
struct Counted {
    author: Option<UserId>,
    counts: BTreeMap<String, i64>,
    score: Score,
}

impl MemoryCounters {
    /// Creates empty counters, whose trending scores decay as `trending` says.
    pub fn new(trending: Trending) -> Self {
        MemoryCounters { trending, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave a partial change behind.
        self.state.lock()
    }

    fn readable(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.rebuilding {
            return Err(Error::retriable("the counters are being rebuilt"));
        }
        Ok(state)
    }
}

impl State {
    fn fence(&self, partition: Partition) -> Option<Fence> {
        self.fences.get(&partition).copied()
    }

    fn check(&self, chunk: &CounterChunk) -> ChunkOutcome {
        let stored = self.fence(chunk.partition);
        let foreign = self.incarnation.is_some_and(|known| known != chunk.fence.incarnation);
        if self.rebuilding || foreign {
            return ChunkOutcome::Gap(stored.filter(|_| !self.rebuilding));
        }
        let (position, number) = stored.map_or((0, 0), |f| (f.position, f.chunk));
        match (chunk.fence.position, chunk.fence.chunk).cmp(&(position, number)) {
            std::cmp::Ordering::Less => ChunkOutcome::Skipped,
            std::cmp::Ordering::Equal => ChunkOutcome::Applied,
            std::cmp::Ordering::Greater => ChunkOutcome::Gap(stored),
        }
    }

    fn rebuild(&mut self, token: RebuildToken) -> Result<()> {
        if !self.rebuilding || token.0 != self.token {
            return Err(Error::fenced(format!(
                "rebuild {} has ended, or another rebuild has begun",
                token.0
            )));
        }
        Ok(())
    }

    fn ranked(&self, score: impl Fn(i64, Score) -> f64, limit: usize) -> Vec<RankedPost> {
        let mut posts: Vec<_> = self
            .posts
            .iter()
            .filter_map(|(post, counted)| {
                let likes = counted.counts.get("like").copied().filter(|n| *n > 0)?;
                Some(RankedPost { post_id: post.clone(), likes, score: score(likes, counted.score) })
            })
            .collect();
        sort_ranked(&mut posts);
        posts.truncate(limit);
        posts
    }
}

/// Sorts by score, descending. Equal scores are ordered by the id of the post.
pub(super) fn sort_ranked(posts: &mut [RankedPost]) {
    posts.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.post_id.cmp(&b.post_id)));
}

#[async_trait]
impl Counts for MemoryCounters {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        let state = self.readable()?;
        let view = |post: &PostId| match state.posts.get(post) {
            Some(counted) => PostView::new(post.clone(), counted.author.clone(), counted.counts.clone()),
            None => PostView::new(post.clone(), None, []),
        };
        Ok(posts.iter().map(view).collect())
    }

    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        Ok(self.readable()?.ranked(|likes, _| likes as f64, limit))
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        Ok(self.readable()?.ranked(|_, score| self.trending.at(score, now), limit))
    }
}

#[async_trait]
impl CounterStore for MemoryCounters {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        let state = self.state();
        Ok(state.fence(partition).filter(|_| !state.rebuilding))
    }

    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        let mut state = self.state();
        let outcome = state.check(chunk);
        if outcome != ChunkOutcome::Applied {
            return Ok(outcome);
        }
        state.incarnation = Some(chunk.next.incarnation);
        state.fences.insert(chunk.partition, chunk.next);
        for delta in &chunk.deltas {
            let counted = state.posts.entry(delta.post.clone()).or_default();
            *counted.counts.entry(delta.kind.to_string()).or_default() += delta.by;
            counted.score.add(delta.score, 1.0);
            if let Some(author) = &delta.author {
                counted.author = Some(author.clone());
            }
        }
        Ok(ChunkOutcome::Applied)
    }

    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        let mut state = self.state();
        *state = State { token: state.token + 1, rebuilding: true, ..State::default() };
        Ok(RebuildToken(state.token))
    }

    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        let mut state = self.state();
        state.rebuild(token)?;
        for PostTotals { post, author, counts, score } in totals {
            let counts = counts.iter().cloned().collect();
            state.posts.insert(post.clone(), Counted { author: author.clone(), counts, score: *score });
        }
        Ok(())
    }

    async fn finish_rebuild(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()> {
        let mut state = self.state();
        state.rebuild(token)?;
        let fence = |position| Fence { position, chunk: 0, incarnation };
        state.fences = positions.iter().map(|(partition, offset)| (partition, fence(offset))).collect();
        state.incarnation = Some(incarnation);
        state.rebuilding = false;
        Ok(())
    }
}
