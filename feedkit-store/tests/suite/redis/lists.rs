//! Lists are exact: ties at their end, posts that lose all likes, and scores over many generations.

use feedkit_core::counters::{ChunkOutcome, CounterChunk, CounterDelta, Fence};
use feedkit_core::memory::MemoryCounters;
use feedkit_core::queries::RankedPost;
use feedkit_core::testkit::conformance::support::post;
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{CounterStore, Counts, Partition, Timestamp};
use feedkit_test_services::{apply, needs_redis_server};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::support::{Reached, server};

/// The half-life is a second, so that generations pass quickly.
fn quick() -> Trending {
    Trending::new(std::time::Duration::from_secs(60))
}

fn delta(name: &str, by: i64, score: Score) -> CounterDelta {
    CounterDelta { post: post(name), kind: "like".into(), by, score, author: None }
}

fn chunk(n: u64, deltas: Vec<CounterDelta>) -> CounterChunk {
    let fence = |position| Fence { position, chunk: 0, incarnation: 3 };
    CounterChunk { partition: Partition(0), fence: fence(n), next: fence(n + 1), deltas }
}

fn names(list: &[RankedPost]) -> Vec<(&str, i64)> {
    list.iter().map(|ranked| (ranked.post_id.as_str(), ranked.likes)).collect()
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn ties_are_in_order_wherever_the_list_ends() {
    let server = server!();
    let counters = server.redis().await.counters();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut expected: Vec<(String, i64)> = (0..60)
        .map(|i| (format!("{}{i}", ["a", "B", "~", "x:y", "-"][i % 5]), rng.random_range(1..4)))
        .collect();
    let weight = quick().weight(Timestamp::from_millis(1_700_000_000_000));
    let score = |likes: i64| Score { value: weight.value * likes as f64, ..weight };
    let deltas = expected.iter().map(|(name, likes)| delta(name, *likes, score(*likes))).collect();
    assert_eq!(counters.apply(&chunk(0, deltas)).await.unwrap(), ChunkOutcome::Applied);
    expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let expected: Vec<_> = expected.iter().map(|(name, likes)| (name.as_str(), *likes)).collect();
    for limit in 0..=62 {
        let end = limit.min(expected.len());
        assert_eq!(names(&counters.top(limit).await.unwrap()), expected[..end], "top {limit}");
        let trending = counters.trending(Timestamp::from_millis(1_700_000_000_000), limit).await.unwrap();
        assert_eq!(names(&trending), expected[..end], "trending {limit}");
    }
    assert_eq!(counters.top(usize::MAX).await.unwrap().len(), 60);
}

/// Redis and the counters in memory give the same answers.
pub async fn equals_memory(counters: &feedkit_store::redis::RedisCounters, seed: u64) {
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let counters = counters.clone().with_trending(quick());
    let memory = MemoryCounters::new(quick());
    let mut time = 1_700_000_000_000i64;
    for n in 0..60 {
        // Sometimes days pass, and with them generations.
        time +=
            if rng.random_bool(0.2) { rng.random_range(0..200_000_000) } else { rng.random_range(0..60_000) };
        let mut posts: Vec<u32> = (0..rng.random_range(0..30)).map(|_| rng.random_range(0..40)).collect();
        posts.sort_unstable();
        posts.dedup();
        let deltas = posts.iter().map(|i| {
            let by = rng.random_range(-2..3);
            let late = rng.random_range(0..3_600_000);
            let weight = quick().weight(Timestamp::from_millis(time - late));
            delta(&format!("p{i}"), by, Score { value: weight.value * by as f64, ..weight })
        });
        let chunk = chunk(n, deltas.collect());
        assert_eq!(counters.apply(&chunk).await.unwrap(), ChunkOutcome::Applied);
        assert_eq!(memory.apply(&chunk).await.unwrap(), ChunkOutcome::Applied);
        assert_eq!(counters.top(25).await.unwrap(), memory.top(25).await.unwrap(), "after {n}");
        let now = Timestamp::from_millis(time);
        let (ours, theirs) =
            (counters.trending(now, 99).await.unwrap(), memory.trending(now, 99).await.unwrap());
        assert_eq!(ours.len(), theirs.len(), "after {n}");
        for ranked in &theirs {
            let ours = ours.iter().find(|r| r.post_id == ranked.post_id).unwrap();
            let near = (ours.score - ranked.score).abs() <= 1e-9 * ranked.score.abs().max(1.0);
            assert!(near && ours.likes == ranked.likes, "after {n}: {ours:?}, expected {ranked:?}");
        }
    }
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn over_many_generations_lists_are_those_of_memory() {
    let server = server!();
    for seed in 0..5 {
        server.ask::<()>("FLUSHALL").await;
        equals_memory(&server.redis().await.counters(), seed).await;
        // A post that has likes again is no longer in the set of posts without likes.
        let both = "ZINTERCARD 2 feedkit:trending:rest trending_posts";
        assert_eq!(server.ask::<i64>(both).await, 0);
        assert!(
            server.ask::<i64>("ZCARD feedkit:trending:rest").await > 0,
            "nothing rests: too little is tried"
        );
    }
    assert!(server.ask::<i64>("HGET feedkit:state landmark").await > 1_700_000_000 / 3840);
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn scores_stay_finite_whatever_the_time() {
    let server = server!();
    let counters = server.redis().await.counters().with_trending(quick());
    let times = [0, i64::MIN, i64::MAX, 1_700_000_000_000, 4_102_444_800_000, 0];
    for (n, time) in times.into_iter().enumerate() {
        let time = Timestamp::from_millis(time);
        let chunk =
            chunk(n as u64, vec![delta("p", 1, quick().weight(time)), delta("q", 1, quick().weight(time))]);
        assert_eq!(counters.apply(&chunk).await.unwrap(), ChunkOutcome::Applied);
        let list = counters.trending(time, 9).await.unwrap();
        assert_eq!(list.len(), 2);
        assert!(list.iter().all(|ranked| ranked.score.is_finite()), "{list:?}");
    }
}
