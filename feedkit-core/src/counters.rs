//! Storing counters: the contract [`CounterStore`].

use async_trait::async_trait;
use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::counts::Counts;
use crate::forward::forward;
use crate::history::PostTotals;
use crate::journal::JournalEntry;
use crate::trending::{Score, Trending};
use crate::{Offset, Partition, Positions, PostId, Result, UserId};

/// Maximum number of deltas in a [`CounterChunk`].
pub const MAX_CHUNK: usize = 1000;

/// Stores counts by post and kind, trending scores, and how far each partition has been counted.
///
/// The counter follower writes to the store. Readers ask its [`Counts`].
///
/// # Contract
///
/// - Each partition has a [`Fence`], which names the next chunk that the store wants.
///   [`apply`](CounterStore::apply) of that chunk changes its counters and moves the fence, in one
///   step. An earlier chunk changes nothing ([`Skipped`](ChunkOutcome::Skipped)), and neither does
///   a later one ([`Gap`](ChunkOutcome::Gap)).
/// - The outcome is also a gap if the chunk belongs to another incarnation of the history, or if a
///   rebuild is running.
/// - Between [`begin_rebuild`](CounterStore::begin_rebuild) and
///   [`finish_rebuild`](CounterStore::finish_rebuild) reads fail with
///   [`Retriable`](crate::ErrorKind::Retriable). A second `begin_rebuild` replaces the running
///   rebuild. Calls with the older token then fail with [`Fenced`](crate::ErrorKind::Fenced).
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the counters are unavailable.
/// [`Uncertain`](crate::ErrorKind::Uncertain) from a call that writes: it may have taken effect.
///
/// # Cancellation
///
/// A dropped `apply` has happened or not, as a whole. Read the fence to find out.
#[async_trait]
pub trait CounterStore: Counts {
    /// Returns the fence of a partition. It is `None` if nothing of the partition was ever counted,
    /// or if a rebuild is not finished.
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>>;

    /// Applies one chunk.
    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome>;

    /// Deletes all counts and fences. The store accepts no chunk until the rebuild is finished.
    async fn begin_rebuild(&self) -> Result<RebuildToken>;

    /// Sets the totals of some posts.
    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()>;

    /// Finishes a rebuild. The loaded totals include all effects up to `positions` in this
    /// incarnation of the history.
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
    /// The start of the journal entry that is counted next, or is being counted.
    pub position: Offset,
    /// The next chunk of that entry.
    pub chunk: u32,
    /// The incarnation of the history that the position belongs to.
    pub incarnation: u128,
}

/// A part of a journal entry, small enough to be applied in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterChunk {
    /// The partition.
    pub partition: Partition,
    /// The fence before this chunk.
    pub fence: Fence,
    /// The fence after this chunk.
    pub next: Fence,
    /// The changes. Each pair of a post and a kind occurs once.
    pub deltas: Vec<CounterDelta>,
}

/// A change to one counter of one post.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterDelta {
    /// The post.
    pub post: PostId,
    /// The kind, which names the counter.
    pub kind: SmolStr,
    /// By how much the counter changes. It may be negative, or zero if only the author or the score
    /// changes.
    pub by: i64,
    /// The change of the trending score.
    pub score: Score,
    /// The author, if this entry published the post.
    pub author: Option<UserId>,
}

/// The outcome of applying a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkOutcome {
    /// The chunk has been counted.
    Applied,
    /// The chunk was already counted.
    Skipped,
    /// The chunk does not follow on what is counted. Contains the fence of the partition, if it has
    /// one.
    Gap(Option<Fence>),
}

/// The token of one rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildToken(pub u64);

/// Splits an entry into chunks. The same entry always gives the same chunks, so that counting can
/// continue at a fence inside the entry.
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

/// The net changes of an entry, sorted by post and kind.
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
