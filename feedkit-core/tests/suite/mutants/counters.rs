//! Counter stores with faults.

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use feedkit_core::counters::{ChunkOutcome, CounterChunk, CounterStore, Fence, RebuildToken};
use feedkit_core::counts::Counts;
use feedkit_core::history::PostTotals;
use feedkit_core::memory::MemoryCounters;
use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::trending::Score;
use feedkit_core::{Partition, Positions, PostId, Result, Timestamp};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantCounters`].
    CounterFault {
        /// Faults that break [`CounterStore`].
        STORE {
            /// Counts each chunk twice.
            AppliesTwice,
            /// Counts a chunk again if it lies earlier in the current entry.
            IgnoresChunkNumber,
            /// Counts any earlier chunk again.
            CountsEarlierChunks,
            /// Counts a later chunk.
            JumpsGaps,
            /// Counts chunks of another incarnation.
            IgnoresIncarnation,
            /// Leaves out the last change of a chunk.
            LosesDelta,
            /// Has one fence for all partitions.
            OneFence,
            /// Moves the fence before it counts.
            FenceFirst,
            /// Counts before it moves the fence.
            CountsFirst,
            /// Answers queries during a rebuild.
            ReadsDuringRebuild,
            /// Accepts chunks during a rebuild.
            AppliesDuringRebuild,
            /// Shows the old fence during a rebuild.
            FenceSurvivesRebuild,
            /// Keeps old counts across a rebuild.
            CountsSurviveRebuild,
            /// Accepts the token of a rebuild that was replaced.
            TakesOldToken,
            /// Loses the scores when it is rebuilt.
            LoadsNoScores,
        }
        /// Faults that break [`Counts`].
        COUNTS {
            /// Orders posts with equal scores by descending ids.
            ReversesTies,
            /// Lists posts that have no likes.
            ListsWithoutLikes,
            /// Returns more posts than the limit.
            IgnoresLimit,
            /// Forgets authors.
            ForgetsAuthors,
            /// Leaves out unknown posts.
            LeavesOutUnknown,
            /// Computes trending scores for another time.
            TrendsInThePast,
        }
    }
}

/// Counters with one fault.
pub(crate) struct MutantCounters {
    inner: MemoryCounters,
    fault: CounterFault,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    posts: Vec<PostId>,
    kept: Vec<PostTotals>,
    fence: Option<Fence>,
    incarnation: Option<u128>,
    token: u64,
    rebuilding: bool,
}

impl MutantCounters {
    /// Creates counters with this fault.
    pub(crate) fn new(fault: CounterFault) -> Self {
        MutantCounters { inner: MemoryCounters::default(), fault, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }

    fn token(&self, token: RebuildToken) -> RebuildToken {
        let latest = RebuildToken(self.seen().token);
        if self.fault == CounterFault::TakesOldToken && token.0 < latest.0 { latest } else { token }
    }

    async fn lists(&self, mut list: Vec<RankedPost>, limit: usize) -> Vec<RankedPost> {
        match self.fault {
            CounterFault::ReversesTies => {
                list.sort_by(|a, b| b.likes.cmp(&a.likes).then_with(|| b.post_id.cmp(&a.post_id)));
            }
            CounterFault::ListsWithoutLikes => {
                let posts = self.seen().posts.clone();
                let missing = posts.into_iter().filter(|p| list.iter().all(|r| r.post_id != *p));
                let extra: Vec<_> =
                    missing.map(|post_id| RankedPost { post_id, likes: 0, score: 0.0 }).collect();
                list.extend(extra);
            }
            CounterFault::IgnoresLimit => return list,
            _ => {}
        }
        list.truncate(limit);
        list
    }
}

#[async_trait]
impl Counts for MutantCounters {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        match self.inner.posts(posts).await {
            Err(_) if self.fault == CounterFault::ReadsDuringRebuild => Ok(Vec::new()),
            Ok(mut views) if self.fault == CounterFault::LeavesOutUnknown => {
                views.retain(|v| !v.counts.is_empty());
                Ok(views)
            }
            other => other,
        }
    }

    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        match self.inner.top(usize::MAX).await {
            Err(_) if self.fault == CounterFault::ReadsDuringRebuild => Ok(Vec::new()),
            other => Ok(self.lists(other?, limit).await),
        }
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        let now = match self.fault {
            CounterFault::TrendsInThePast => now.day(),
            _ => now,
        };
        self.inner.trending(now, limit).await
    }
}

#[async_trait]
impl CounterStore for MutantCounters {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        match self.fault {
            CounterFault::OneFence => self.inner.fence(Partition(0)).await,
            CounterFault::FenceSurvivesRebuild => {
                let kept = self.seen().fence;
                Ok(self.inner.fence(partition).await?.or(kept))
            }
            _ => self.inner.fence(partition).await,
        }
    }

    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        let mut chunk = chunk.clone();
        let stored = self.inner.fence(chunk.partition).await?;
        let now = stored.unwrap_or(Fence { position: 0, chunk: 0, incarnation: chunk.fence.incarnation });
        let (wanted, at) = ((chunk.fence.position, chunk.fence.chunk), (now.position, now.chunk));
        let rebuilding = {
            let mut seen = self.seen();
            seen.posts.extend(chunk.deltas.iter().map(|d| d.post.clone()));
            let known = *seen.incarnation.get_or_insert(chunk.fence.incarnation);
            if self.fault == CounterFault::IgnoresIncarnation {
                (chunk.fence.incarnation, chunk.next.incarnation) = (known, known);
            }
            seen.rebuilding
        };
        let again = CounterChunk { fence: now, next: now, ..chunk.clone() };
        match self.fault {
            CounterFault::AppliesTwice => chunk.deltas.iter_mut().for_each(|d| d.by *= 2),
            CounterFault::IgnoresChunkNumber if wanted.0 == at.0 && wanted < at => {
                return self.inner.apply(&again).await;
            }
            CounterFault::CountsEarlierChunks if wanted < at => return self.inner.apply(&again).await,
            CounterFault::JumpsGaps if wanted > at => chunk.fence = now,
            CounterFault::LosesDelta => drop(chunk.deltas.pop()),
            CounterFault::OneFence => chunk.partition = Partition(0),
            CounterFault::FenceFirst if wanted == at && !rebuilding => {
                self.inner.apply(&CounterChunk { deltas: Vec::new(), ..chunk.clone() }).await?;
                tokio::task::yield_now().await;
                let again = CounterChunk { fence: chunk.next, ..chunk };
                return self.inner.apply(&again).await;
            }
            CounterFault::CountsFirst if wanted == at && !rebuilding => {
                self.inner.apply(&again).await?;
                tokio::task::yield_now().await;
                chunk.deltas.clear();
            }
            CounterFault::AppliesDuringRebuild if rebuilding => return Ok(ChunkOutcome::Applied),
            CounterFault::ForgetsAuthors => chunk.deltas.iter_mut().for_each(|d| d.author = None),
            _ => {}
        }
        self.inner.apply(&chunk).await
    }

    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        let posts = self.seen().posts.clone();
        let views = self.inner.posts(&posts).await.unwrap_or_default();
        let fence = self.inner.fence(Partition(0)).await?;
        let token = self.inner.begin_rebuild().await?;
        let mut seen = self.seen();
        (seen.token, seen.rebuilding, seen.fence, seen.incarnation) = (token.0, true, fence, None);
        seen.kept = views
            .into_iter()
            .map(|v| PostTotals {
                post: v.post_id,
                author: v.author,
                counts: v.counts.into_iter().collect(),
                score: Score::default(),
            })
            .collect();
        Ok(token)
    }

    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        let mut totals = totals.to_vec();
        if self.fault == CounterFault::LoadsNoScores {
            totals.iter_mut().for_each(|t| t.score = Score::default());
        }
        self.inner.load(self.token(token), &totals).await
    }

    async fn finish_rebuild(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()> {
        let token = self.token(token);
        if self.fault == CounterFault::CountsSurviveRebuild {
            let kept = self.seen().kept.clone();
            self.inner.load(token, &kept).await?;
        }
        self.inner.finish_rebuild(token, positions, incarnation).await?;
        let mut seen = self.seen();
        (seen.rebuilding, seen.fence, seen.incarnation) = (false, None, Some(incarnation));
        Ok(())
    }
}
