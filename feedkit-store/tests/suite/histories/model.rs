//! Compares history, totals and answers with the reference model, for random sizes of batches.

use std::time::Duration;

use feedkit_core::counters::chunks;
use feedkit_core::effect::LikePolicy;
use feedkit_core::history::{CommitCounts, JournalRead};
use feedkit_core::testkit::Model;
use feedkit_core::testkit::split::{LOG, model, partitions};
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, History, Inspect, Partition, Queries, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::traffic::{Committer, dense, seed};
use super::{NONE, Opening, Store, Stores};

/// Splits dense traffic at random, opens the store again in between, and compares everything at the
/// end.
async fn check(stores: &impl Stores, seed: u64, policy: LikePolicy) {
    let trending = Trending::new(Duration::from_secs(1));
    // Scores pass through several landmarks.
    let config = dense(seed).rate(5.0);
    let partitions = partitions(&config);
    let model = model(&partitions, policy);
    let place = stores.place().await;
    let opening = Opening { policy, trending, ..Opening::default() };
    let open = async || stores.open(&place, opening.clone()).await;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut committer = Committer::new(&partitions);
    while !committer.open().is_empty() {
        let store = open().await;
        let rounds = rng.random_range(1..25);
        committer.go(&store.history(), &mut rng, rounds).await;
        // The followers of the journal are somewhere behind.
        if rng.random_bool(0.5) {
            store.follow().await;
        }
        assert_eq!(store.history().verify().await.unwrap().differences, NONE, "seed {seed}");
        store.close().await;
    }
    assert_eq!(committer.counts, model.counts, "seed {seed}");

    let store = open().await;
    let history = store.history();
    compare_snapshot(&model, &history, seed).await;
    store.follow().await;
    compare(&model, &history, policy, seed).await;
    let now = config.start.saturating_add(Duration::from_secs(300));
    compare_trending(&model, &history, &trending, now, seed).await;

    store.rebuild_totals().await;
    compare(&model, &history, policy, seed).await;
    compare_trending(&model, &history, &trending, now, seed).await;

    // Counters beside it, from its journal: partition after partition.
    let counters = store.counters();
    for p in (0..4).map(Partition) {
        let JournalRead::Entries(entries) = history.journal(p, 0, usize::MAX).await.unwrap() else {
            panic!("nothing was dropped")
        };
        for chunk in entries.iter().flat_map(|e| chunks(e, 1, &trending)) {
            counters.apply(&chunk).await.unwrap();
        }
    }
    assert_eq!(model.compare_counters(&counters, &trending, now).await.unwrap(), NONE, "seed {seed}");
}

async fn compare(model: &Model, history: &(impl History + Queries + Inspect), policy: LikePolicy, seed: u64) {
    if policy == LikePolicy::Unique {
        assert_eq!(model.compare_queries(history).await.unwrap(), NONE, "seed {seed}");
    }
    compare_snapshot(model, history, seed).await;
    assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
    assert_eq!(model.compare_journal(history).await.unwrap(), NONE, "seed {seed}");
}

/// Snapshots are exact, wherever the followers of the journal are.
async fn compare_snapshot(model: &Model, history: &impl History, seed: u64) {
    let mut snapshot = history.snapshot().await.unwrap();
    assert_eq!(*snapshot.positions(), history.positions().await.unwrap(), "seed {seed}");
    let mut seen = Vec::new();
    loop {
        let some = snapshot.next(7).await.unwrap();
        if some.is_empty() {
            break;
        }
        seen.extend(some);
    }
    assert_eq!(seen.len(), model.posts.len(), "seed {seed}");
    for (totals, (post, expected)) in seen.iter().zip(&model.posts) {
        let counts: Vec<_> = totals.counts.iter().filter(|(_, n)| *n != 0).cloned().collect();
        let expected: Vec<_> =
            expected.counts.iter().filter(|(_, n)| **n != 0).map(|(k, n)| (k.clone(), *n)).collect();
        assert_eq!((&totals.post, counts), (post, expected), "seed {seed}");
    }
}

/// All liked posts in the model's order, with scores that agree to a billionth.
async fn compare_trending(
    model: &Model,
    history: &impl Queries,
    trending: &Trending,
    now: Timestamp,
    seed: u64,
) {
    let listed = history.trending(now, usize::MAX).await.unwrap();
    assert_eq!(listed.len(), model.top().len(), "seed {seed}");
    assert!(listed.is_sorted_by(|a, b| a.score >= b.score), "seed {seed}");
    let scores = model.scores(trending);
    for post in &listed {
        let expected = trending.at(scores[&post.post_id], now);
        let near = (post.score - expected).abs() <= 1e-9 * expected.abs().max(1.0);
        assert!(near, "seed {seed}: {} trends at {}, expected {expected}", post.post_id, post.score);
    }
    let first = history.trending(now, 3).await.unwrap();
    assert_eq!(first, listed[..first.len()], "seed {seed}");
}

pub(crate) async fn any_split_into_batches_gives_the_models_counts<S: Stores>(stores: &S) {
    for _ in 0..S::SEEDS {
        check(stores, seed(), LikePolicy::Unique).await;
    }
}

pub(crate) async fn any_split_counts_every_like_where_that_is_the_policy<S: Stores>(stores: &S) {
    for _ in 0..S::SEEDS / 2 {
        check(stores, seed(), LikePolicy::Every).await;
    }
}

pub(crate) async fn a_log_read_again_from_the_start_changes_nothing(stores: &impl Stores) {
    let seed = seed();
    let partitions = partitions(&dense(seed));
    let model = model(&partitions, LikePolicy::Unique);
    let store = stores.empty().await;
    let history = store.history();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut first = Committer::new(&partitions);
    while !first.open().is_empty() {
        first.go(&history, &mut rng, 20).await;
    }
    // The followers of the journal have applied nothing yet. They apply what they lack before the
    // journal is dropped.
    for p in (0..4).map(Partition) {
        history.accept_gap(p, LOG, 0, Timestamp::EPOCH).await.unwrap();
    }
    let mut again = Committer::new(&partitions);
    while !again.open().is_empty() {
        again.go(&history, &mut rng, 20).await;
    }
    let kept = model.counts.accepted + model.counts.duplicates;
    let expected = CommitCounts { accepted: 0, duplicates: kept, effects: 0, ..model.counts };
    assert_eq!(again.counts, expected, "seed {seed}");
    store.follow().await;
    assert_eq!(model.compare_queries(&history).await.unwrap(), NONE, "seed {seed}");
}
