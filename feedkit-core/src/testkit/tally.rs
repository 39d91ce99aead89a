//! A follower that counts effects by post and kind, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use crate::effect::Effect;
use crate::follower::{Follower, FollowerPosition};
use crate::history::History;
use crate::journal::JournalEntry;
use crate::{Error, Offset, Partition, Positions, Result};

/// The simplest follower: it counts effects by post and kind, in memory.
#[derive(Debug, Default)]
pub struct Tally(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    positions: Positions,
    counts: BTreeMap<(String, String), i64>,
}

impl Tally {
    /// Creates an empty tally.
    pub fn new() -> Self {
        Self::default()
    }

    /// Net counts by post and kind, without counts of zero.
    pub fn counts(&self) -> BTreeMap<(String, String), i64> {
        let mut counts = self.state().counts.clone();
        counts.retain(|_, n| *n != 0);
        counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change to the state is complete before anything can panic.
        self.0.lock()
    }
}

impl State {
    fn count(&mut self, effect: &Effect) {
        if let Some((kind, by)) = effect.kind.delta() {
            *self.counts.entry((effect.post.to_string(), kind.to_owned())).or_default() += by;
        }
    }
}

#[async_trait]
impl Follower for Tally {
    fn name(&self) -> &str {
        "tally"
    }

    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        Ok(FollowerPosition::At(self.state().positions.of(partition)))
    }

    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let mut state = self.state();
        let at = state.positions.of(partition);
        if let Some(first) = entries.first().filter(|e| e.from > at) {
            let detail =
                format!("partition {partition} is tallied up to {at}, the run begins at {}", first.from);
            return Err(Error::gap(detail));
        }
        for entry in entries {
            // If an entry begins before the position, only the rest of it counts.
            entry.effects.iter().filter(|e| e.offset >= at).for_each(|e| state.count(e));
            state.positions.advance(partition, entry.to);
        }
        Ok(state.positions.of(partition))
    }

    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        let mut snapshot = history.snapshot().await?;
        let mut rebuilt = State { positions: snapshot.positions().clone(), counts: BTreeMap::new() };
        loop {
            let portion = snapshot.next(1000).await?;
            if portion.is_empty() {
                break;
            }
            for totals in portion {
                for (kind, n) in totals.counts {
                    rebuilt.counts.insert((totals.post.to_string(), kind), n);
                }
            }
        }
        *self.state() = rebuilt;
        Ok(())
    }
}
