//! Compares rollups, and writes of several processes at once, with the reference model.

use std::sync::Arc;

use feedkit_core::effect::LikePolicy;
use feedkit_core::history::CommitCounts;
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{entry, post};
use feedkit_core::testkit::split::{batch, model, partitions};
use feedkit_core::{Follower, History, Inspect, Offset, Partition, Queries};
use feedkit_test_services::{apply, needs_postgres};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::support::{Databases, connect, follow, options};
use crate::histories::NONE;
use crate::histories::traffic::{Committer, dense, seed};

/// The log got more partitions, and users moved: new events come from two partitions at once, and
/// so do repeats.
#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_write_the_same_at_once_count_it_once() {
    let databases = Databases::new();
    let seed = seed();
    let config = dense(seed).malformed(0.0).without_id(0.0).repeats(0.0);
    let records: Vec<Record> = (0..)
        .zip(config.traffic())
        .map(|(offset, item)| Record { offset, time: item.time, key: None, value: item.value })
        .collect();
    let store = databases.store().await;
    let history = store.history();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut epochs = Vec::new();
    for p in 0..4 {
        epochs.push(history.claim(Partition(p), "g").await.unwrap().epoch);
    }
    let (mut at, mut counts) = (0, CommitCounts::default());
    while at < records.len() {
        let size = rng.random_range(1..200).min(records.len() - at);
        let mut commits = Vec::new();
        for (p, epoch) in (0..).map(Partition).zip(&epochs) {
            let batch = Arc::new(batch(p, *epoch, at as Offset, &records[at..at + size]));
            let history = history.clone();
            commits.push(tokio::spawn(async move { history.commit(batch).await.unwrap().counts }));
        }
        for commit in commits {
            counts += commit.await.unwrap();
        }
        at += size;
    }
    let n = records.len() as u64;
    assert_eq!((counts.accepted, counts.duplicates), (n, 3 * n), "seed {seed}");
    follow(&history, &store.rollups()).await.unwrap();
    assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
    assert_eq!(history.top(None, 1).await.unwrap().len(), 1, "seed {seed}");
}

/// Two processes with the same entries, and retention that moves the rollups too.
#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn rollups_written_by_several_at_once_are_there_once() {
    let databases = Databases::new();
    let seed = seed();
    let partitions = partitions(&dense(seed));
    let model = model(&partitions, LikePolicy::Unique);
    let url = databases.url().await;
    let (one, two) = (connect(options(&url)).await, connect(options(&url)).await);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut committer = Committer::new(&partitions);
    let (first, second) = (one.rollups(), two.rollups());
    while !committer.open().is_empty() {
        committer.go(&one.history(), &mut rng, 3).await;
        let (history, other) = (one.history(), two.history());
        let (a, b) = tokio::join!(follow(&history, &first), follow(&other, &second));
        for outcome in [a, b] {
            if let Err(error) = outcome {
                assert_eq!(error.kind(), feedkit_core::ErrorKind::Gap, "seed {seed}: {error}");
            }
        }
    }
    follow(&one.history(), &first).await.unwrap();
    first.close().await.unwrap();
    assert_eq!(model.compare_queries(&two.history()).await.unwrap(), NONE, "seed {seed}");
}

/// The same entries, held by two processes and written at the same moment.
#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_write_the_same_entries_at_once_one_counts() {
    let databases = Databases::new();
    let url = databases.url().await;
    let (one, two) = (connect(options(&url)).await, connect(options(&url)).await);
    let (first, second) = (one.rollups(), two.rollups());
    for i in 0..20 {
        let entries = [entry(i, i + 1, &[("a", &format!("p{i}"), "comment"), ("a", "p", "comment")])];
        for rollups in [&first, &second] {
            // It knows only the position of its last write.
            rollups.position(Partition(0)).await.unwrap();
            assert_eq!(rollups.apply(Partition(0), &entries).await.unwrap(), i + 1);
        }
        let (a, b) = tokio::join!(first.close(), second.close());
        a.and(b).unwrap();
        assert_eq!(one.history().post(&post("p")).await.unwrap().unwrap().comments, i as i64 + 1);
    }
}
