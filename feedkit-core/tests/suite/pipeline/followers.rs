//! Followers that are behind, lost, ahead, running twice at once, or failing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::follower::{Follower, FollowerPosition, Scope};
use feedkit_core::history::{JournalRead, RetentionPolicy};
use feedkit_core::journal::JournalEntry;
use feedkit_core::memory::{MemoryCounters, MemoryHistory};
use feedkit_core::pipeline::{CounterFollower, PartitionState};
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, Error, ErrorKind, History, Offset, Partition, Result, Timestamp};

use super::world::{Running, World, until};

#[tokio::test]
async fn one_that_starts_late_catches_up_from_the_journal() {
    let world = World::new();
    let plain = world.bare_pipeline();
    let running = Running::start(plain);
    world.send(51, 2_000).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    let running = world.start();
    world.send(52, 500).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    world.check().await;
}

#[tokio::test]
async fn one_that_the_journal_no_longer_reaches_is_rebuilt() {
    let world = World::new();
    let plain = world.bare_pipeline();
    let running = Running::start(plain);
    world.send(53, 2_000).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    let policy = RetentionPolicy::default().journal(Duration::ZERO).follower_silence(Duration::ZERO);
    let late = world.clock.clone();
    late.advance(Duration::from_secs(86_400));
    world.history.retain(&policy, feedkit_core::Clock::now(&late)).await.unwrap();
    let journal = world.history.journal(Partition(0), 0, 10).await.unwrap();
    assert!(matches!(journal, JournalRead::Expired(_)), "{journal:?}");
    let running = world.start();
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    world.check_counters(&world.model()).await;
}

#[tokio::test]
async fn counters_of_another_history_or_ahead_of_it_are_rebuilt() {
    let world = World::new();
    let running = world.start();
    world.send(54, 800).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    // The history is lost and rebuilt from the log. It has another incarnation, and is behind the
    // counters for a while.
    let fresh = World { history: Arc::new(MemoryHistory::new()), ..world.clone() };
    let running = fresh.start();
    fresh.send(55, 300).await;
    running.handle.reached(&fresh.ends()).await.unwrap();
    running.stop().await;
    fresh.check().await;
}

#[tokio::test]
async fn one_that_loses_what_it_had_is_made_whole_though_nothing_new_comes() {
    let world = World::new();
    let running = world.start();
    world.send(64, 800).await;
    running.handle.reached(&world.ends()).await.unwrap();
    // The pipeline sees that the position is stored before the counters lose it.
    until("the position is stored", async || {
        running.handle.status().followers["counters"].durable.covers(&world.ends())
    })
    .await;
    let token = world.counters.begin_rebuild().await.unwrap();
    let incarnation = world.history.incarnation().await.unwrap();
    world.counters.finish_rebuild(token, &Default::default(), incarnation).await.unwrap();
    let model = world.model();
    until("all is counted again", async || {
        let now = Timestamp::from_millis(1_735_776_000_000);
        model.compare_counters(&*world.counters, &Trending::default(), now).await.unwrap().is_empty()
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn the_same_entries_from_two_processes_at_once_count_once() {
    let world = World::new();
    let plain = world.bare_pipeline();
    let running = Running::start(plain);
    world.send(56, 3_000).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    let follower = || {
        CounterFollower::new("counters", world.counters.clone(), world.history.clone(), Trending::default())
    };
    follower().rebuild(&MemoryHistory::new()).await.unwrap();
    // The store was rebuilt from an empty history of another incarnation. Empty it again, now with
    // the incarnation of the real history.
    let token = world.counters.begin_rebuild().await.unwrap();
    let incarnation = world.history.incarnation().await.unwrap();
    world.counters.finish_rebuild(token, &Default::default(), incarnation).await.unwrap();
    let apply_all = |follower: CounterFollower<Arc<MemoryCounters>, Arc<MemoryHistory>>| {
        let history = world.history.clone();
        async move {
            for partition in (0..4).map(Partition) {
                let mut at = 0;
                loop {
                    let JournalRead::Entries(run) = history.journal(partition, at, 50).await.unwrap() else {
                        panic!("the journal is whole");
                    };
                    let Some(last) = run.last() else { break };
                    at = last.to;
                    // A gap means that the other follower is ahead, or in the middle of this entry.
                    if let Err(error) = follower.apply(partition, &run).await {
                        assert_eq!(error.kind(), ErrorKind::Gap);
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    let both: Vec<_> = (0..2).map(|_| tokio::spawn(apply_all(follower()))).collect();
    for one in both {
        one.await.unwrap();
    }
    world.check_counters(&world.model()).await;
}

/// Stores the offset of partition 0, and fails as `error` says.
struct Failing {
    applied: Arc<AtomicU64>,
    tries: AtomicU64,
    error: fn(u64) -> Option<Error>,
}

#[async_trait]
impl Follower for Failing {
    fn name(&self) -> &str {
        "failing"
    }
    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        let applied = self.applied.load(Ordering::SeqCst);
        Ok(FollowerPosition::At(if partition == Partition(0) { applied } else { 0 }))
    }
    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let to = entries[entries.len() - 1].to;
        if let Some(error) = (self.error)(self.tries.fetch_add(1, Ordering::SeqCst)) {
            return Err(error);
        }
        if partition == Partition(0) {
            self.applied.store(to, Ordering::SeqCst);
        }
        Ok(to)
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        Err(Error::fatal("cannot be rebuilt"))
    }
}

#[tokio::test]
async fn a_failing_follower_is_retried_and_one_that_fails_for_good_stops_alone() {
    for (error, stops) in [
        ((|n| (n % 2 == 0).then(|| Error::retriable("busy"))) as fn(u64) -> Option<Error>, false),
        (|n| (n == 3).then(|| Error::corrupt("damaged")), true),
    ] {
        let world = World::new();
        let applied = Arc::new(AtomicU64::new(0));
        let failing = Failing { applied: applied.clone(), tries: AtomicU64::new(0), error };
        let running = Running::start(world.pipeline(world.history.clone()).follower(failing));
        world.send(57, 1_000).await;
        let ends = world.ends();
        if stops {
            until("the follower has stopped", async || running.handle.status().followers["failing"].stopped)
                .await;
            let error = running.handle.reached(&ends).await.unwrap_err().to_string();
            assert!(error.contains("failing") && error.contains("damaged"), "{error}");
        } else {
            until("it has applied all", async || applied.load(Ordering::SeqCst) == ends.of(Partition(0)))
                .await;
        }
        until("the others have all", async || {
            let status = running.handle.status();
            status.positions().covers(&ends) && status.followers["counters"].durable.covers(&ends)
        })
        .await;
        running.stop().await;
        world.check().await;
    }
}

#[tokio::test]
async fn a_backwards_clock_changes_nothing() {
    let world = World::new();
    let running = world.start();
    world.send(58, 500).await;
    world.clock.set(Timestamp::from_millis(1_735_689_600_000));
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    world.clock.set(Timestamp::EPOCH);
    let running = world.start();
    world.send(59, 500).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    world.check().await;
}

/// A follower whose `apply` never returns.
struct Stuck;

#[async_trait]
impl Follower for Stuck {
    fn name(&self) -> &str {
        "stuck"
    }
    async fn position(&self, _: Partition) -> Result<FollowerPosition> {
        Ok(FollowerPosition::At(0))
    }
    async fn apply(&self, _: Partition, _: &[Arc<JournalEntry>]) -> Result<Offset> {
        std::future::pending().await
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        Err(Error::fatal("cannot be rebuilt"))
    }
}

#[tokio::test]
async fn what_is_committed_can_be_waited_for_whatever_a_follower_does() {
    let world = World::new();
    let running = Running::start(world.bare_pipeline().follower(Stuck).configure(|config| {
        config.shutdown_deadline = Duration::from_millis(1);
    }));
    world.send(57, 200).await;
    running.handle.committed(&world.ends()).await.unwrap();
    assert!(!running.handle.status().has_reached(&world.ends()));
    let mut beyond = world.ends();
    beyond.set(Partition(0), u64::MAX);
    let handle = running.handle.clone();
    let waiting = tokio::spawn(async move { handle.committed(&beyond).await });
    running.stop().await;
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Fatal);
}

/// Holds what it is handed until it is ticked. Its first ticks fail and lose what it holds.
struct Holding {
    held: AtomicU64,
    stored: AtomicU64,
    failures: AtomicU64,
}

#[async_trait]
impl Follower for Holding {
    fn name(&self) -> &str {
        "holding"
    }
    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        // It follows partition 0 only.
        Ok(FollowerPosition::At(match partition {
            Partition(0) => self.stored.load(Ordering::SeqCst),
            _ => u64::MAX,
        }))
    }
    async fn apply(&self, _: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        self.held.store(entries[entries.len() - 1].to, Ordering::SeqCst);
        Ok(entries[entries.len() - 1].to)
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        Err(Error::fatal("cannot be rebuilt"))
    }
    async fn tick(&self) -> Result<()> {
        let held = self.held.load(Ordering::SeqCst);
        if held > self.stored.load(Ordering::SeqCst) && self.failures.fetch_add(1, Ordering::SeqCst) < 2 {
            self.held.store(self.stored.load(Ordering::SeqCst), Ordering::SeqCst);
            return Err(Error::uncertain("the connection broke"));
        }
        self.stored.store(held, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn what_a_failing_tick_has_lost_is_handed_over_again() {
    let world = World::new();
    let (held, stored, failures) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let running = Running::start(world.bare_pipeline().follower(Holding { held, stored, failures }));
    world.send(60, 500).await;
    let end = world.ends().of(Partition(0));
    until("all is stored", async || {
        running.handle.status().followers["holding"].durable.of(Partition(0)) == end
    })
    .await;
    running.stop().await;
}

/// Panics at its first entry.
struct Panicking;

#[async_trait]
impl Follower for Panicking {
    fn name(&self) -> &str {
        "panicking"
    }
    async fn position(&self, _: Partition) -> Result<FollowerPosition> {
        Ok(FollowerPosition::At(0))
    }
    async fn apply(&self, _: Partition, _: &[Arc<JournalEntry>]) -> Result<Offset> {
        panic!("a bug in an own follower, as this test wants it");
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_follower_that_panics_is_seen_to_have_stopped() {
    let world = World::new();
    let running = Running::start(world.pipeline(world.history.clone()).follower(Panicking));
    world.send(61, 300).await;
    let error = running.handle.reached(&world.ends()).await.unwrap_err().to_string();
    assert!(error.contains("panicking") && error.contains("panicked"), "{error}");
    running.stop().await;
    world.check().await;
}

/// Records its position in every partition, for any committer.
struct Everywhere(std::sync::Mutex<feedkit_core::Positions>);

#[async_trait]
impl Follower for Everywhere {
    fn name(&self) -> &str {
        "everywhere"
    }
    fn scope(&self) -> Scope {
        Scope::All
    }
    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        Ok(FollowerPosition::At(self.0.lock().unwrap().of(partition)))
    }
    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let to = entries[entries.len() - 1].to;
        self.0.lock().unwrap().set(partition, to);
        Ok(to)
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        Err(Error::fatal("cannot be rebuilt"))
    }
}

#[tokio::test]
async fn one_of_all_partitions_sees_what_others_commit_while_it_is_busy() {
    let world = World::new();
    let first = Running::start(world.bare_pipeline().follower(Everywhere(Default::default())));
    let second = Running::start(world.bare_pipeline());
    until("both have partitions", async || {
        let held =
            |r: &Running| r.handle.status().partitions.values().any(|p| p.state == PartitionState::Running);
        held(&first) && held(&second)
    })
    .await;
    world.send(62, 600).await;
    let foreign = world.ends();
    // The first pipeline has own work every few milliseconds until the other's commits arrive.
    until("all partitions are followed", async || {
        world.send(63, 3).await;
        first.handle.status().followers["everywhere"].durable.covers(&foreign)
    })
    .await;
    first.stop().await;
    second.stop().await;
}

/// Never stores what it is handed, and counts how often it is asked for a position.
struct Asked(Arc<AtomicU64>);

#[async_trait]
impl Follower for Asked {
    fn name(&self) -> &str {
        "asked"
    }
    async fn position(&self, _: Partition) -> Result<FollowerPosition> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(FollowerPosition::At(0))
    }
    async fn apply(&self, _: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        Ok(entries[entries.len() - 1].to)
    }
    async fn rebuild(&self, _: &dyn History) -> Result<()> {
        Err(Error::fatal("cannot be rebuilt"))
    }
}

/// The paused clock stands still while a task can run.
#[tokio::test(start_paused = true)]
async fn where_a_follower_stands_is_not_asked_after_every_entry() {
    let world = World::new();
    let asked = Arc::new(AtomicU64::new(0));
    let running = Running::start(world.bare_pipeline().follower(Asked(asked.clone())));
    for seed in 100..300 {
        world.send(seed, 1).await;
        until("it is applied", async || {
            running.handle.status().followers["asked"].applied.covers(&world.ends())
        })
        .await;
    }
    // It is asked once for each partition at the start, and for all of them with every tick.
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked < 200, "asked {asked} times for 200 entries");
    running.stop().await;
}
