//! Partitions are added, and processors are added and removed, under traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use feedkit_core::Partition;
use feedkit_test_services::{apply, eventually, needs_services};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use crate::oracle::{judge, logged};
use crate::traffic::{Flow, lively, seed};
use crate::world::{TURN, World};

async fn committed(client: &tokio_postgres::Client) -> BTreeMap<Partition, i64> {
    let rows = client.query("SELECT partition, position FROM positions", &[]).await.unwrap();
    rows.iter().map(|row| (Partition(row.get::<_, i32>(0) as u32), row.get(1))).collect()
}

/// The order of each user's actions is kept even if users move to other partitions. Likes and
/// unlikes of a pair come out as in the model, which reads the old partitions first.
#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn from_four_to_eight_partitions() {
    let _turn = TURN.lock().await;
    let seed = seed();
    let mut world = World::new().await;
    // Producers and processors notice new partitions soon.
    world.events.properties.insert("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned());
    // A few users change their minds often, so most pairs have actions before and after the change.
    let config = lively(seed).users(40).posts(8).likes(0.5).unlikes(0.45).comments(0.03);
    let (one, _) = world.started().await;
    let (two, _) = world.started().await;
    let flow = Flow::start(&world.events, &config, 40, Duration::from_millis(20));
    let client = world.database.client().await;
    // An old partition is one with committed records.
    let read = async || committed(&client).await.values().filter(|at| **at > 0).count();
    eventually("four partitions are read", async || read().await == 4).await;
    eventually("there is something before", async || flow.sent() > 1000).await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &world.events.bootstrap).create().unwrap();
    let grown = [NewPartitions::new(&world.events.topic, 8)];
    let results = admin.create_partitions(&grown, &AdminOptions::new()).await.unwrap();
    results[0].as_ref().unwrap();
    eventually("eight partitions are read", async || read().await == 8).await;
    let sent = flow.sent();
    eventually("there is something after", async || flow.sent() > sent + 1000).await;
    flow.stop().await;
    one.stop().await;
    two.stop().await;
    world.catch_up().await;
    let model = judge(&world).await;
    assert_eq!(model.positions.iter().count(), 8);
    // Users moved, and acted on the same posts before and after. Otherwise the test would show
    // nothing.
    let users = |partitions: std::ops::Range<u32>| -> BTreeSet<_> {
        let effects = |p| model.effects.get(&Partition(p)).into_iter().flatten();
        partitions.flat_map(effects).map(|e| (e.user.clone(), e.post.clone())).collect()
    };
    let moved = users(0..4).intersection(&users(4..8)).count();
    println!("{moved} pairs of user and post were touched before and after they moved");
    assert!(moved > 20, "{moved}");
}

/// How long each partition's position stood still at most while it had records to read.
struct Pauses {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
    longest: Arc<std::sync::Mutex<BTreeMap<Partition, Duration>>>,
}

impl Pauses {
    async fn watch(world: &World) -> Pauses {
        let client = world.database.client().await;
        let (stop, longest) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&longest));
        let task = tokio::spawn(async move {
            let mut last: BTreeMap<Partition, (i64, Instant)> = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                for (partition, position) in committed(&client).await {
                    let (at, since) = last.entry(partition).or_insert((position, Instant::now()));
                    let noted: &std::sync::Mutex<BTreeMap<_, Duration>> = &noted;
                    let mut noted = noted.lock().unwrap();
                    let longest = noted.entry(partition).or_default();
                    *longest = (*longest).max(since.elapsed());
                    if *at != position {
                        (*at, *since) = (position, Instant::now());
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Pauses { stop, task, longest }
    }

    /// The values since the last call, in milliseconds by partition.
    fn take(&self) -> String {
        let longest = std::mem::take(&mut *self.longest.lock().unwrap());
        let each: Vec<_> = longest.iter().map(|(p, t)| format!("{p}: {}", t.as_millis())).collect();
        each.join(", ")
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

async fn come_and_go(protocol: &str) {
    let _turn = TURN.lock().await;
    let seed = seed();
    let world = World::new().await;
    let world = world.set("GROUP_PROTOCOL", protocol);
    // Every partition gets records every few milliseconds.
    let (first, _) = world.started().await;
    let flow = Flow::start(&world.events, &lively(seed), 40, Duration::from_millis(5));
    let client = world.database.client().await;
    eventually("all are read", async || committed(&client).await.values().filter(|at| **at > 0).count() == 4)
        .await;
    let pauses = Pauses::watch(&world).await;
    let settled = async |what: &str| {
        let (sent, before) = (flow.sent(), committed(&client).await);
        eventually("traffic goes on", async || flow.sent() > sent + 2000).await;
        // A partition whose owner was killed stands still until the group notices it.
        eventually("all partitions go on", async || {
            committed(&client).await.iter().all(|(p, at)| *at > before[p])
        })
        .await;
        println!("{protocol}: longest pause of each partition in ms, {what}: {}", pauses.take());
    };
    settled("one processor").await;
    let (second, _) = world.started().await;
    settled("a second joins").await;
    let (mut third, _) = world.started().await;
    settled("a third joins").await;
    second.stop().await;
    settled("one leaves").await;
    third.kill();
    settled("one is killed").await;
    pauses.end().await;
    flow.stop().await;
    first.stop().await;
    world.catch_up().await;
    judge(&world).await;
    let records = logged(&world.events).await.records;
    assert_eq!(records.len(), 4);
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn from_one_to_three_processors_and_back() {
    come_and_go("cooperative").await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn from_one_to_three_processors_and_back_by_kip_848() {
    come_and_go("consumer").await;
}
