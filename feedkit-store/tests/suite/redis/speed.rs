//! Measures how fast chunks are applied. This is not a test: run it alone, with `--ignored
//! --nocapture`, in a release build.

use std::time::Instant;

use feedkit_core::counters::{ChunkOutcome, CounterChunk, CounterDelta, Fence};
use feedkit_core::testkit::conformance::support::post;
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{CounterStore, Partition, Timestamp};
use feedkit_test_services::RedisServer;

use super::support::{Reached, server};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, and says nothing about right or wrong"]
async fn deltas_a_second() {
    let server = server!();
    let counters = server.redis().await.counters();
    let (partitions, rounds, posts) = (4u32, 100u64, 100_000u64);
    let weight = Trending::default().weight(Timestamp::from_millis(1_795_500_000_000));
    let make = |partition: u32, round: u64| {
        let fence = |position| Fence { position, chunk: 0, incarnation: 1 };
        let kinds = [("like", weight), ("comment", Score::default())];
        let deltas = (0..500u64).flat_map(|i| {
            let name = format!("post-{}", (u64::from(partition) * 7919 + round * 104_729 + i * 31) % posts);
            kinds.map(|(kind, score)| CounterDelta {
                post: post(&name),
                kind: kind.into(),
                by: 1,
                score,
                author: None,
            })
        });
        let deltas = deltas.collect();
        CounterChunk { partition: Partition(partition), fence: fence(round), next: fence(round + 1), deltas }
    };
    let chunks: Vec<Vec<_>> = (0..partitions).map(|p| (0..rounds).map(|r| make(p, r)).collect()).collect();
    let (start, cpu) = (Instant::now(), cpu_seconds(&server).await);
    let run = |mine: Vec<CounterChunk>| {
        let counters = counters.clone();
        async move {
            for chunk in &mine {
                assert_eq!(counters.apply(chunk).await.unwrap(), ChunkOutcome::Applied);
            }
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    chunks.into_iter().for_each(|mine| {
        tasks.spawn(run(mine));
    });
    tasks.join_all().await;
    let deltas = u64::from(partitions) * rounds * 1000;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds(&server).await - cpu);
    println!(
        "{:.0} deltas/s, half of them likes; {:.0} for a CPU-second of Redis",
        deltas as f64 / wall,
        deltas as f64 / cpu
    );
}

async fn cpu_seconds(server: &RedisServer) -> f64 {
    let info: String = server.ask("INFO cpu").await;
    let field = |name: &str| -> f64 {
        info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    field("used_cpu_user:") + field("used_cpu_sys:")
}
