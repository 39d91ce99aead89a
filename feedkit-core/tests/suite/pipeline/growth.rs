//! A log that gets more partitions. Keys move to others, and each key must keep its order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::memory::MemoryHistory;
use feedkit_core::pipeline::PartitionState;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::SourceEvent;
use feedkit_core::{
    Clock, EventSink, EventSource, History, Inspect, Partition, Pipeline, Positions, PostId, Queries, Result,
};

use super::hooked::{Act, hooked};
use super::world::{Running, World, until};

const USERS: usize = 200;

/// Every user does `kind` to post `p`.
async fn all(world: &World, kind: &str) {
    let record = |user: usize| {
        let value = format!(r#"{{"userId":"u{user}","postId":"p","type":"{kind}"}}"#);
        NewRecord::keyed(format!("u{user}"), value.into())
    };
    for outcome in world.log.send((0..USERS).map(record).collect()).await {
        outcome.unwrap();
    }
}

async fn likes(world: &World) -> i64 {
    world.history.post(&PostId::new("p").unwrap()).await.unwrap().map_or(0, |post| post.likes)
}

#[tokio::test]
async fn what_a_key_did_before_the_log_grew_goes_first() {
    let world = World::new();
    let running = world.start();
    all(&world, "comment").await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    // The likes are in the old partitions. Some unlikes of the same users are in the new ones.
    all(&world, "like").await;
    world.log.grow(8);
    all(&world, "unlike").await;
    // The old partitions are slow.
    let slow = hooked(world.history.clone(), |batch| match batch.partition {
        Partition(old) if old < 4 => Act::Hold,
        _ => Act::Pass,
    });
    let pipeline = world.pipeline(slow.clone()).configure(|config| config.partitions_may_grow = true);
    let running = Running::start(pipeline);
    slow.hooks.held.notified().await;
    let waiting = |running: &Running| {
        let status = running.handle.status();
        (4..8)
            .all(|p| status.partitions.get(&Partition(p)).is_some_and(|p| p.state == PartitionState::Waiting))
    };
    until("the new partitions wait", async || waiting(&running)).await;
    slow.hooks.go_on.add_permits(1000);
    until("all is committed", async || world.history.positions().await.unwrap().covers(&world.ends())).await;
    running.handle.reached(&world.ends()).await.unwrap();
    assert_eq!(likes(&world).await, 0, "an unlike went before its like");
    running.stop().await;
}

/// A writer may continue with the old partitions after a reader has seen the new ones.
#[tokio::test]
async fn what_a_late_writer_sends_to_the_old_partitions_goes_first() {
    let world = World::new();
    let held = Arc::new(AtomicBool::new(false));
    let hold = held.clone();
    let slow = hooked(world.history.clone(), move |batch| match batch.partition {
        Partition(old) if old < 4 && hold.load(Ordering::Relaxed) => Act::Hold,
        _ => Act::Pass,
    });
    let pipeline = world.pipeline(slow.clone()).configure(|config| config.partitions_may_grow = true);
    let running = Running::start(pipeline);
    all(&world, "comment").await;
    running.handle.reached(&world.ends()).await.unwrap();
    // The partition of each user's earlier actions.
    let old: Vec<_> = (0..USERS).map(|user| world.log.partition_of(format!("u{user}").as_bytes())).collect();
    world.log.grow(8);
    let assigned = |p| running.handle.status().partitions.get(&Partition(p)).map(|p| p.state.clone());
    until("the new partitions are assigned", async || {
        (4..8).all(|p| assigned(p) == Some(PartitionState::Running))
    })
    .await;
    held.store(true, Ordering::Relaxed);
    for (user, partition) in old.into_iter().enumerate() {
        let value = format!(r#"{{"userId":"u{user}","postId":"p","type":"like"}}"#);
        world.log.append(partition, world.clock.now(), Some(format!("u{user}").into()), value.into());
    }
    all(&world, "unlike").await;
    slow.hooks.held.notified().await;
    until("the new partitions wait", async || (4..8).all(|p| assigned(p) == Some(PartitionState::Waiting)))
        .await;
    slow.hooks.go_on.add_permits(1000);
    running.handle.reached(&world.ends()).await.unwrap();
    assert_eq!(likes(&world).await, 0, "an unlike went before its like");
    running.stop().await;
}

#[tokio::test]
async fn a_log_that_grows_under_traffic_is_read_whole() {
    let world = World::new();
    let pipeline =
        world.pipeline(world.history.clone()).configure(|config| config.partitions_may_grow = true);
    let running = Running::start(pipeline);
    world.send(71, 800).await;
    world.log.grow(8);
    world.send(72, 800).await;
    all(&world, "like").await;
    until("all is committed", async || running.handle.status().positions().covers(&world.ends())).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    assert_eq!(likes(&world).await, USERS as i64);
    let totals = world.history.verify().await.unwrap();
    assert_eq!(totals.difference_count, 0, "{totals:?}");
}

/// A source that keeps back other partitions until a record of partition 0 is committed.
struct Late<S> {
    source: S,
    history: Arc<MemoryHistory>,
    kept: VecDeque<SourceEvent>,
}

#[async_trait]
impl<S: EventSource> EventSource for Late<S> {
    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            let begun = self.history.claimed(Partition(0)).await?.position > 0;
            if begun && let Some(event) = self.kept.pop_front() {
                return Ok(event);
            }
            tokio::select! {
                event = self.source.next() => match event? {
                    SourceEvent::Batch(batch) if !begun && batch.partition != Partition(0) => {
                        self.kept.push_back(SourceEvent::Batch(batch));
                    }
                    event => return Ok(event),
                },
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    }
    fn pause(&mut self, partition: Partition) {
        self.source.pause(partition);
    }
    fn resume(&mut self, partition: Partition) {
        self.source.resume(partition);
    }
    async fn ends(&mut self) -> Result<Positions> {
        self.source.ends().await
    }
    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        self.source.still_held(partition).await
    }
}

/// At the start of a group, all partitions are equally new.
#[tokio::test]
async fn partitions_of_a_log_that_was_never_read_do_not_wait_for_each_other() {
    let world = World::new();
    world.send(73, 2_000).await;
    let mut of_the_first = 0;
    let slow = hooked(world.history.clone(), move |batch| {
        of_the_first += usize::from(batch.partition == Partition(0));
        if batch.partition == Partition(0) && of_the_first > 1 { Act::Hold } else { Act::Pass }
    });
    let late = Late { source: world.log.reader("g"), history: world.history.clone(), kept: VecDeque::new() };
    let pipeline = Pipeline::builder(late, slow.clone()).configure(|config| {
        config.group = "g".to_owned();
        config.max_batch = 100;
        config.partitions_may_grow = true;
    });
    let running = Running::start(pipeline);
    slow.hooks.held.notified().await;
    let ends = world.ends();
    let others = || (1..4).map(Partition);
    until("the others are committed", async || {
        let positions = world.history.positions().await.unwrap();
        others().all(|partition| positions.of(partition) == ends.of(partition))
    })
    .await;
    slow.hooks.go_on.add_permits(1000);
    running.handle.committed(&ends).await.unwrap();
    running.stop().await;
    let model = world.model();
    assert_eq!(model.compare_queries(&*world.history).await.unwrap(), [] as [String; 0]);
}
