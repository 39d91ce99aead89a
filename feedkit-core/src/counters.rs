//! Counters that are fenced against counting twice.

use async_trait::async_trait;
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::counts::Counts;
use crate::forward::forward;
use crate::history::PostTotals;
use crate::journal::JournalEntry;
use crate::trending::{Score, Trending};
use crate::{Offset, Partition, Positions, PostId, Result, UserId};

/// Most deltas of one [`CounterChunk`].
pub const MAX_CHUNK: usize = 1000;

/// Keeps counts by post and kind, trending scores, and how far each partition has been counted. The counter follower
/// writes it; readers ask its [`Counts`].
///
/// # Contract
///
/// - Each partition has a [`Fence`]: the next chunk that it wants. [`apply`](CounterStore::apply) of that chunk
///   changes all its counters and moves the fence, in one step; of an earlier chunk it changes nothing
///   ([`Skipped`](ChunkOutcome::Skipped)), and of a later one nothing either ([`Gap`](ChunkOutcome::Gap)).
/// - A chunk of another incarnation of the history is refused as a gap, as is every chunk while a rebuild runs.
/// - Between [`begin_rebuild`](CounterStore::begin_rebuild) and
///   [`finish_rebuild`](CounterStore::finish_rebuild) reads fail as [`Retriable`](crate::ErrorKind::Retriable).
///   A rebuild that is begun anew replaces the one before; the older token is refused as
///   [`Fenced`](crate::ErrorKind::Fenced).
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the counters cannot be reached.
/// [`Uncertain`](crate::ErrorKind::Uncertain) from a call that writes: it may have been carried out.
///
/// # Cancellation
///
/// A dropped `apply` has happened or not, whole; ask for the fence.
#[async_trait]
pub trait CounterStore: Counts {
    /// The fence of a partition; `None` while nothing of it was ever counted, or a rebuild has not been finished.
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>>;

    /// Applies one chunk.
    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome>;

    /// Forgets all counts and fences, and takes no chunk until the rebuild is finished.
    async fn begin_rebuild(&self) -> Result<RebuildToken>;

    /// Sets the totals of some posts.
    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()>;

    /// The totals are complete as of `positions` in the history's incarnation.
    async fn finish_rebuild(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()>;
}

/// How far a partition has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The start of the entry that is counted next, or is being counted.
    pub position: Offset,
    /// The next chunk of that entry.
    pub chunk: u32,
    /// The history's incarnation that this belongs to.
    pub incarnation: u128,
}

/// Part of an entry, small enough to be applied in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterChunk {
    /// The partition.
    pub partition: Partition,
    /// The fence that this chunk follows on.
    pub fence: Fence,
    /// The fence after it.
    pub next: Fence,
    /// What changes, by post and kind; each pair once.
    pub deltas: Vec<CounterDelta>,
}

/// A change to one counter of one post.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterDelta {
    /// The post.
    pub post: PostId,
    /// The counter.
    pub kind: SmolStr,
    /// By how much; may be negative, or zero where only the author or the score changes.
    pub by: i64,
    /// What is added to the trending score.
    pub score: Score,
    /// The author, where this entry published the post.
    pub author: Option<UserId>,
}

/// What a store did with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkOutcome {
    /// It is counted.
    Applied,
    /// It was counted before.
    Skipped,
    /// It does not follow on what is counted; this is where the partition stands, if anywhere.
    Gap(Option<Fence>),
}

/// Names one rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildToken(pub u64);

/// The chunks of an entry: always the same for the same entry, so that a fence inside it can be continued.
///
/// An entry without effects gives one empty chunk, which moves the fence.
pub fn chunks(entry: &JournalEntry, incarnation: u128, trending: &Trending) -> Vec<CounterChunk> {
    let deltas = fold(entry, trending);
    let count = deltas.len().div_ceil(MAX_CHUNK).max(1);
    let fence = |chunk: usize| match chunk == count {
        true => Fence { position: entry.to, chunk: 0, incarnation },
        false => Fence { position: entry.from, chunk: chunk as u32, incarnation },
    };
    let mut rest = deltas.into_iter();
    (0..count)
        .map(|i| CounterChunk {
            partition: entry.partition,
            fence: fence(i),
            next: fence(i + 1),
            deltas: rest.by_ref().take(MAX_CHUNK).collect(),
        })
        .collect()
}

/// An entry's net changes, sorted by post and kind.
fn fold(entry: &JournalEntry, trending: &Trending) -> Vec<CounterDelta> {
    let mut sums: HashMap<(&PostId, &str), (i64, Score, Option<&UserId>)> = HashMap::new();
    for effect in &entry.effects {
        match effect.kind.delta() {
            Some((kind, by)) => {
                let sum = sums.entry((&effect.post, kind)).or_default();
                sum.0 += by;
                if kind == "like" {
                    sum.1.add(trending.weight(effect.time), by as f64);
                }
            }
            None => sums.entry((&effect.post, "like")).or_default().2 = Some(&effect.user),
        }
    }
    let mut deltas: Vec<_> = sums
        .into_iter()
        .map(|((post, kind), (by, score, author))| CounterDelta {
            post: post.clone(),
            kind: kind.into(),
            by,
            score,
            author: author.cloned(),
        })
        .collect();
    deltas.sort_unstable_by(|a, b| a.post.cmp(&b.post).then_with(|| a.kind.cmp(&b.kind)));
    deltas
}

forward!(CounterStore {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>>;
    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome>;
    async fn begin_rebuild(&self) -> Result<RebuildToken>;
    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()>;
    async fn finish_rebuild(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()>;
});
