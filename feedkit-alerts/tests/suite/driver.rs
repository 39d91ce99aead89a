//! Drives followers as a pipeline does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use feedkit_alerts::AlertFollower;
use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::{History, JournalRead};
use feedkit_core::memory::MemoryHistory;
use feedkit_core::{Partition, Positions, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::test_log::TestLog;
use crate::world::{PARTITIONS, World};

pub(crate) type TestFollower = AlertFollower<Arc<TestLog>, Arc<MemoryHistory>>;

/// Drives followers as a pipeline does, and kills them at random.
pub(crate) struct Driver {
    pub(crate) rng: ChaCha8Rng,
    /// One in this many calls is dropped before it ends. 0 means none.
    pub(crate) drop_one_in: u32,
    /// One in this many calls is the last of its process. 0 means none.
    pub(crate) kill_one_in: u32,
    pub(crate) kills: u32,
    pub(crate) drops: u32,
}

impl Driver {
    pub(crate) fn new(seed: u64) -> Self {
        Driver { rng: ChaCha8Rng::seed_from_u64(seed), drop_one_in: 0, kill_one_in: 0, kills: 0, drops: 0 }
    }

    fn once_in(&mut self, n: u32) -> bool {
        n > 0 && self.rng.random_range(0..n) == 0
    }

    /// Runs until all entries are consumed, and closes the follower.
    pub(crate) async fn finish(&mut self, world: &World) {
        let mut follower = world.follower();
        let mut wanted: Option<Positions> = None;
        let ends = world.history.positions().await.unwrap();
        for call in 0.. {
            assert!(call < 100_000, "the follower does not reach the end");
            if self.once_in(self.kill_one_in) {
                self.kills += 1;
                (follower, wanted) = (world.follower(), None);
                world.outlive_lease();
            }
            let Some(at) = &mut wanted else {
                wanted = positions(&follower).await;
                if wanted.is_none() {
                    world.outlive_lease();
                }
                continue;
            };
            let partition = Partition(self.rng.random_range(0..PARTITIONS));
            if at.of(partition) >= ends.of(partition) {
                world.clock.advance(Duration::from_millis(300));
                if self.settle(follower.tick()).await.is_none() {
                    wanted = None;
                }
                if positions(&follower).await.as_ref() == Some(&ends) && close(&follower).await {
                    return;
                }
                continue;
            }
            let max = self.rng.random_range(1..300);
            let read = world.history.journal(partition, at.of(partition), max).await.unwrap();
            let JournalRead::Entries(entries) = read else { panic!("the journal is all there") };
            match self.settle(follower.apply(partition, &entries)).await {
                Some(Ok(next)) => at.set(partition, next),
                Some(Err(())) => {}
                None => wanted = None,
            }
        }
    }

    /// Makes a call, or drops it early. `Err` means that the caller repeats the call. `None` means
    /// that it reads the position first.
    async fn settle<T>(&mut self, call: impl Future<Output = Result<T>> + Send) -> Option<Result<T, ()>> {
        let polls = if self.once_in(self.drop_one_in) { self.rng.random_range(1..6) } else { usize::MAX };
        match (AtMost { call: Box::pin(call), polls }).await {
            Some(Ok(value)) => Some(Ok(value)),
            Some(Err(e)) if e.is_retriable() => Some(Err(())),
            Some(Err(e)) => {
                assert!(e.kind().must_reread(), "{e:?}");
                None
            }
            None => {
                self.drops += 1;
                None
            }
        }
    }
}

/// A follower's positions, or `None` while it stands by or cannot read them.
pub(crate) async fn positions(follower: &TestFollower) -> Option<Positions> {
    let mut positions = Positions::new();
    for partition in (0..PARTITIONS).map(Partition) {
        match follower.position(partition).await {
            Ok(FollowerPosition::At(offset)) => positions.set(partition, offset),
            Ok(FollowerPosition::Standby) => return None,
            Ok(FollowerPosition::Rebuild(reason)) => panic!("the follower must be rebuilt: {reason}"),
            Err(e) => {
                assert!(e.is_retriable(), "{e:?}");
                return None;
            }
        }
    }
    Some(positions)
}

async fn close(follower: &TestFollower) -> bool {
    follower.close().await.is_ok()
}

/// Polls a call at most `polls` times, then gives up.
pub(crate) struct AtMost<'a, T> {
    pub(crate) call: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    pub(crate) polls: usize,
}

impl<T> Future for AtMost<'_, T> {
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.call.as_mut().poll(cx).map(Some)
    }
}
