//! The follower that keeps a counter store up to date with the history.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use crate::counters::{ChunkOutcome, CounterStore, Fence, chunks};
use crate::failpoint;
use crate::follower::{Follower, FollowerPosition};
use crate::history::History;
use crate::journal::JournalEntry;
use crate::trending::Trending;
use crate::{Error, Offset, Partition, Result};

/// How many posts a rebuild loads at once.
const LOAD: usize = 1000;

/// Applies the journal to a [`CounterStore`]. The fence of each partition, a position and a chunk,
/// ensures that each chunk is counted once. The follower rebuilds the store from the history if the
/// store has lost its data, or contains the data of another history.
#[derive(Debug)]
pub struct CounterFollower<C, H> {
    name: String,
    counters: C,
    history: H,
    trending: Trending,
    /// The history's incarnation at the last query of a position.
    incarnation: Mutex<Option<u128>>,
}

impl<C: CounterStore, H: History> CounterFollower<C, H> {
    /// Creates a follower that applies the journal of `history` to `counters`.
    pub fn new(name: impl Into<String>, counters: C, history: H, trending: Trending) -> Self {
        CounterFollower { name: name.into(), counters, history, trending, incarnation: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Option<u128>> {
        self.incarnation.lock()
    }

    fn know(&self, incarnation: u128) {
        *self.known() = Some(incarnation);
    }
}

#[async_trait]
impl<C: CounterStore, H: History> Follower for CounterFollower<C, H> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        let rebuild = |why: &str| Ok(FollowerPosition::Rebuild(why.to_owned()));
        let incarnation = self.history.incarnation().await?;
        self.know(incarnation);
        // Nothing is counted yet. After an unfinished rebuild the store refuses the first chunk,
        // which causes another rebuild.
        let Some(fence) = self.counters.fence(partition).await? else { return Ok(FollowerPosition::At(0)) };
        if fence.incarnation != incarnation {
            return rebuild("the counts belong to another incarnation of the history");
        }
        if fence.position > self.history.claimed(partition).await?.position {
            return rebuild("the counts are ahead of the history");
        }
        Ok(FollowerPosition::At(fence.position))
    }

    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        // The history is not asked at every run. If it was replaced, the next query of a position
        // finds out, and the counts are loaded from the new history.
        let known = *self.known();
        let incarnation = match known {
            Some(incarnation) => incarnation,
            None => self.history.incarnation().await?,
        };
        let gap = |at: &str| Error::gap(format!("counters of partition {partition} stand at {at}"));
        let start = Fence { position: 0, chunk: 0, incarnation };
        let mut fence = self.counters.fence(partition).await?.unwrap_or(start);
        for entry in entries {
            if entry.to <= fence.position {
                continue;
            }
            if fence.position > entry.from {
                return Err(gap(&format!("{}, inside an entry", fence.position)));
            }
            failpoint::reach(failpoint::stage::FOLLOWER);
            for chunk in chunks(entry, incarnation, &self.trending) {
                if (chunk.fence.position, chunk.fence.chunk) < (fence.position, fence.chunk) {
                    continue;
                }
                match self.counters.apply(&chunk).await? {
                    ChunkOutcome::Applied | ChunkOutcome::Skipped => fence = chunk.next,
                    ChunkOutcome::Gap(Some(at)) => {
                        return Err(gap(&format!("{}, chunk {}", at.position, at.chunk)));
                    }
                    ChunkOutcome::Gap(None) => return Err(gap("nothing")),
                }
            }
        }
        Ok(fence.position)
    }

    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        let token = self.counters.begin_rebuild().await?;
        let incarnation = history.incarnation().await?;
        self.know(incarnation);
        let mut snapshot = history.snapshot().await?;
        loop {
            let totals = snapshot.next(LOAD).await?;
            if totals.is_empty() {
                break;
            }
            failpoint::reach(failpoint::stage::REBUILD);
            self.counters.load(token, &totals).await?;
        }
        self.counters.finish_rebuild(token, snapshot.positions(), incarnation).await
    }
}
