//! A snapshot of all totals in memory.

use async_trait::async_trait;

use super::State;
use crate::history::{PostTotals, Snapshot};
use crate::{Positions, Result};

/// A copy of all totals.
pub(super) struct MemorySnapshot {
    positions: Positions,
    totals: std::vec::IntoIter<PostTotals>,
}

impl MemorySnapshot {
    pub(super) fn of(state: &State) -> Self {
        let totals: Vec<_> = state
            .posts
            .iter()
            .map(|(post, known)| PostTotals {
                post: post.clone(),
                author: known.author.clone(),
                counts: known.counts.iter().map(|(kind, n)| (kind.clone(), *n)).collect(),
                score: known.score,
            })
            .collect();
        MemorySnapshot { positions: state.positions(), totals: totals.into_iter() }
    }
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    fn positions(&self) -> &Positions {
        &self.positions
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<PostTotals>> {
        Ok(self.totals.by_ref().take(limit).collect())
    }
}
