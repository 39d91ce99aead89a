//! Followers with faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::History;
use feedkit_core::journal::JournalEntry;
use feedkit_core::testkit::Tally;
use feedkit_core::{Offset, Partition, Result};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantFollower`].
    FollowerFault {
        /// Counts entries that it has received before.
        CountsAgain,
        /// Skips a whole run if it has received a part of it before.
        SkipsTooMuch,
        /// Accepts a run after a gap.
        JumpsGaps,
        /// Stores its position before it counts.
        PositionFirst,
        /// Counts before it stores its position.
        CountsFirst,
        /// Returns an offset that it has already applied.
        WantsTooEarly,
        /// Forgets its position at a rebuild.
        RebuildForgetsPosition,
        /// Keeps its old counts at a rebuild.
        RebuildKeepsCounts,
    }
}

/// A follower with one fault.
pub(crate) struct MutantFollower {
    inner: Tally,
    fault: FollowerFault,
    /// Additional counts.
    more: Mutex<BTreeMap<(String, String), i64>>,
}

impl MutantFollower {
    /// Creates a follower with this fault.
    pub(crate) fn new(fault: FollowerFault) -> Self {
        MutantFollower { inner: Tally::new(), fault, more: Mutex::default() }
    }

    /// Net counts by post and kind, without counts of zero.
    pub(crate) fn counts(&self) -> BTreeMap<(String, String), i64> {
        let mut counts = self.inner.counts();
        let more = self.more.lock();
        more.iter().for_each(|(key, n)| *counts.entry(key.clone()).or_default() += n);
        counts.retain(|_, n| *n != 0);
        counts
    }

    fn count(&self, entries: &[Arc<JournalEntry>], from: Offset, to: Offset) {
        let mut more = self.more.lock();
        for effect in entries.iter().flat_map(|e| &e.effects).filter(|e| (from..to).contains(&e.offset)) {
            if let Some((kind, by)) = effect.kind.delta() {
                *more.entry((effect.post.to_string(), kind.to_owned())).or_default() += by;
            }
        }
    }

    fn without_effects(entries: &[Arc<JournalEntry>]) -> Vec<Arc<JournalEntry>> {
        entries.iter().map(|e| Arc::new(JournalEntry { effects: Vec::new(), ..(**e).clone() })).collect()
    }
}

#[async_trait]
impl Follower for MutantFollower {
    fn name(&self) -> &str {
        "mutant"
    }

    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        self.inner.position(partition).await
    }

    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let at = match self.inner.position(partition).await? {
            FollowerPosition::At(at) => at,
            _ => 0,
        };
        let Some(first) = entries.first() else { return Ok(at) };
        match self.fault {
            FollowerFault::CountsAgain => self.count(entries, 0, at),
            FollowerFault::SkipsTooMuch if first.from < at => {
                return self.inner.apply(partition, &Self::without_effects(entries)).await;
            }
            FollowerFault::JumpsGaps if first.from > at => {
                let bridge =
                    JournalEntry { from: at, to: first.from, effects: Vec::new(), ..(**first).clone() };
                self.inner.apply(partition, &[Arc::new(bridge)]).await?;
            }
            FollowerFault::PositionFirst if first.from <= at => {
                let next = self.inner.apply(partition, &Self::without_effects(entries)).await?;
                tokio::task::yield_now().await;
                self.count(entries, at, Offset::MAX);
                return Ok(next);
            }
            FollowerFault::CountsFirst if first.from <= at => {
                self.count(entries, at, Offset::MAX);
                tokio::task::yield_now().await;
                return self.inner.apply(partition, &Self::without_effects(entries)).await;
            }
            _ => {}
        }
        let next = self.inner.apply(partition, entries).await?;
        Ok(if self.fault == FollowerFault::WantsTooEarly { at } else { next })
    }

    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        if self.fault == FollowerFault::RebuildKeepsCounts {
            let kept = self.counts();
            self.more.lock().extend(kept);
        }
        match self.fault {
            FollowerFault::RebuildForgetsPosition => {
                let positions = history.positions().await?;
                self.inner.rebuild(&feedkit_core::memory::MemoryHistory::new()).await?;
                drop(positions);
                Ok(())
            }
            _ => self.inner.rebuild(history).await,
        }
    }
}
