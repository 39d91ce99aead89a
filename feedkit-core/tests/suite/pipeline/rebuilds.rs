//! When a follower is rebuilt, and what the status says about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use feedkit_core::follower::FollowerPosition;
use feedkit_core::journal::JournalEntry;
use feedkit_core::pipeline::RebuildCause;
use feedkit_core::{Error, Follower, History, Offset, Partition, Result};

use super::world::{Running, World, until};

/// A follower that refuses entries, as one does whose position others move.
struct Refusing {
    /// Whether its position moves each time that it is asked.
    moves: bool,
    /// How many more times it refuses.
    refusals: AtomicU64,
    asked: AtomicU64,
    rebuilt: AtomicBool,
}

impl Refusing {
    fn new(moves: bool, refusals: u64) -> Refusing {
        let (refusals, asked) = (AtomicU64::new(refusals), AtomicU64::new(0));
        Refusing { moves, refusals, asked, rebuilt: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Follower for Refusing {
    fn name(&self) -> &str {
        "refusing"
    }
    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        // It follows partition 0 only.
        Ok(FollowerPosition::At(match partition {
            Partition(0) if self.moves => self.asked.fetch_add(1, Ordering::SeqCst),
            Partition(0) => 0,
            _ => u64::MAX,
        }))
    }
    async fn apply(&self, _: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let left = self.refusals.load(Ordering::SeqCst);
        if left > 0 && !self.rebuilt.load(Ordering::SeqCst) {
            self.refusals.store(left - 1, Ordering::SeqCst);
            return Err(Error::gap("it stands elsewhere"));
        }
        Ok(entries[entries.len() - 1].to)
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        self.rebuilt.store(true, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn one_whose_position_moves_is_asked_again_and_not_rebuilt() {
    let world = World::new();
    let running = Running::start(world.bare_pipeline().follower(Refusing::new(true, 8)));
    world.send(71, 500).await;
    let end = world.ends().of(Partition(0));
    until("it has applied all", async || {
        running.handle.status().followers["refusing"].applied.of(Partition(0)) == end
    })
    .await;
    let status = running.handle.status();
    assert!(status.followers["refusing"].rebuilds.is_empty(), "{status:?}");
    running.stop().await;
}

#[tokio::test]
async fn one_that_contradicts_itself_is_rebuilt_and_this_is_counted() {
    let world = World::new();
    let running = Running::start(world.bare_pipeline().follower(Refusing::new(false, u64::MAX)));
    world.send(72, 500).await;
    let end = world.ends().of(Partition(0));
    until("it has applied all", async || {
        running.handle.status().followers["refusing"].applied.of(Partition(0)) == end
    })
    .await;
    let follower = running.handle.status().followers["refusing"].clone();
    assert_eq!(follower.rebuilds.into_iter().collect::<Vec<_>>(), [(RebuildCause::Refused, 1)]);
    assert_eq!(follower.rebuilding, None);
    running.stop().await;
}
