//! History, rollups and answers against the reference model, however the log is cut into batches.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::codec::{Codec, JsonCodec, Place};
use feedkit_core::effect::{LikePolicy, LoggedEvent};
use feedkit_core::history::{CommitBatch, CommitCounts, Rejected};
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{entry, post};
use feedkit_core::testkit::{Model, TrafficConfig};
use feedkit_core::trending::Trending;
use feedkit_core::{Epoch, Follower, History, Offset, Partition, Queries, Timestamp};
use feedkit_store::postgres::{Postgres, PostgresHistory};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::support::{Databases, NONE, connect, follow, settings};

pub(super) const LOG: u128 = 7;

/// The batch of `records`, of which the first lies at `from`.
pub(super) fn batch(partition: Partition, epoch: Epoch, from: Offset, records: &[Record]) -> CommitBatch {
    let place = Place { log: LOG, partition };
    let (mut events, mut rejected) = (Vec::new(), Vec::new());
    for record in records {
        match JsonCodec::default().decode(&place, record) {
            Ok(event) => events.push(LoggedEvent { offset: record.offset, event }),
            Err(fault) => rejected.push(Rejected::new(record, fault)),
        }
    }
    let last = records.last().unwrap();
    let (to, now, last) = (last.offset + 1, last.time, Some(last.mark()));
    CommitBatch { partition, epoch, log: LOG, from, to, at_end: false, events, rejected, last, now }
}

/// The traffic's records in four partitions, by user.
pub(super) fn partitions(config: &TrafficConfig) -> Vec<Vec<Record>> {
    let mut partitions = vec![Vec::new(); 4];
    for item in config.traffic() {
        let hash: usize = item.key.bytes().map(usize::from).sum();
        let records = &mut partitions[hash % 4];
        let offset = records.len() as Offset;
        records.push(Record { offset, time: item.time, key: None, value: item.value });
    }
    partitions
}

pub(super) fn model(partitions: &[Vec<Record>], policy: LikePolicy) -> Model {
    let mut model = Model::new(JsonCodec::default(), LOG).with_policy(policy);
    for (p, records) in (0..).zip(partitions) {
        records.iter().for_each(|r| model.feed(Partition(p), r));
    }
    model
}

/// A new seed; a failing test shows it.
pub(super) fn seed() -> u64 {
    let seed = rand::random();
    println!("seed {seed}");
    seed
}

/// Few users and posts, so that likes meet unlikes, repeats meet what they repeat, and batches touch the same posts.
pub(super) fn dense(seed: u64) -> TrafficConfig {
    TrafficConfig {
        seed,
        users: 30,
        posts: 20,
        count: 2_500,
        likes: 0.5,
        unlikes: 0.3,
        repeats: 0.05,
        malformed: 0.03,
        ..Default::default()
    }
}

/// Commits what is left of each partition in batches of random sizes, several partitions at once.
struct Committer<'a> {
    partitions: &'a [Vec<Record>],
    at: Vec<usize>,
    counts: CommitCounts,
}

impl<'a> Committer<'a> {
    fn new(partitions: &'a [Vec<Record>]) -> Self {
        Committer { partitions, at: vec![0; partitions.len()], counts: CommitCounts::default() }
    }

    /// The partitions that have more to commit.
    fn open(&self) -> Vec<usize> {
        (0..self.at.len()).filter(|p| self.at[*p] < self.partitions[*p].len()).collect()
    }

    /// `rounds` times: one batch of each of some partitions, all at once.
    async fn go(&mut self, history: &PostgresHistory, rng: &mut ChaCha8Rng, rounds: usize) {
        let mut epochs = Vec::new();
        for p in 0..self.at.len() {
            epochs.push(history.claim(Partition(p as u32), "g").await.unwrap().epoch);
        }
        for _ in 0..rounds {
            let mut chosen = self.open();
            chosen.shuffle(rng);
            chosen.truncate(rng.random_range(1..=4));
            let mut commits = Vec::new();
            for p in chosen {
                let size = rng.random_range(1..150).min(self.partitions[p].len() - self.at[p]);
                let records = &self.partitions[p][self.at[p]..self.at[p] + size];
                let batch = Arc::new(batch(Partition(p as u32), epochs[p], self.at[p] as Offset, records));
                self.at[p] += size;
                let history = history.clone();
                commits.push(tokio::spawn(async move { history.commit(batch).await.unwrap().counts }));
            }
            for commit in commits {
                self.counts += commit.await.unwrap();
            }
        }
    }
}

/// Splits a dense traffic at random, connects anew in between, and compares everything at the end.
async fn check(databases: &Databases, seed: u64, policy: LikePolicy) {
    let trending = Trending::new(Duration::from_secs(1));
    // Scores pass through several landmarks.
    let config = TrafficConfig { rate: 5.0, ..dense(seed) };
    let partitions = partitions(&config);
    let model = model(&partitions, policy);
    let url = databases.url().await;
    let open = async || connect(settings(&url)).await.with_like_policy(policy).with_trending(trending);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut committer = Committer::new(&partitions);
    while !committer.open().is_empty() {
        let store = open().await;
        let rounds = rng.random_range(1..30);
        committer.go(&store.history(), &mut rng, rounds).await;
        // The rollups are somewhere behind.
        if rng.random_bool(0.5) {
            follow(&store.history(), &store.rollups()).await.unwrap();
        }
        assert_eq!(store.history().verify().await.unwrap().differences, NONE, "seed {seed}");
        store.close();
    }
    assert_eq!(committer.counts, model.counts, "seed {seed}");

    let store = open().await;
    let history = store.history();
    compare_snapshot(&model, &history, seed).await;
    follow(&history, &store.rollups()).await.unwrap();
    compare(&model, &store, policy, seed).await;
    let now = config.start.saturating_add(Duration::from_secs(300));
    compare_trending(&model, &history, &trending, now, seed).await;

    history.rebuild_totals().await.unwrap();
    compare(&model, &store, policy, seed).await;
    compare_trending(&model, &history, &trending, now, seed).await;
}

async fn compare(model: &Model, store: &Postgres, policy: LikePolicy, seed: u64) {
    let history = store.history();
    if policy == LikePolicy::Unique {
        assert_eq!(model.compare_queries(&history).await.unwrap(), NONE, "seed {seed}");
    }
    compare_snapshot(model, &history, seed).await;
    assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
    assert_eq!(model.compare_journal(&history).await.unwrap(), NONE, "seed {seed}");
}

/// Exact wherever the rollups stand.
async fn compare_snapshot(model: &Model, history: &PostgresHistory, seed: u64) {
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

/// All that is liked, in the model's order, with scores to a billionth.
async fn compare_trending(
    model: &Model,
    history: &PostgresHistory,
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

#[tokio::test(flavor = "multi_thread")]
async fn any_split_into_batches_gives_the_models_counts() {
    let Some(databases) = Databases::new() else { return };
    for _ in 0..3 {
        check(&databases, seed(), LikePolicy::Unique).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_split_counts_every_like_where_that_is_the_policy() {
    let Some(databases) = Databases::new() else { return };
    for _ in 0..2 {
        check(&databases, seed(), LikePolicy::Every).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_read_again_from_the_start_changes_nothing() {
    let Some(databases) = Databases::new() else { return };
    let seed = seed();
    let partitions = partitions(&dense(seed));
    let model = model(&partitions, LikePolicy::Unique);
    let store = databases.store().await;
    let history = store.history();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut first = Committer::new(&partitions);
    while !first.open().is_empty() {
        first.go(&history, &mut rng, 20).await;
    }
    // The rollups have taken nothing yet: what they lack they take before its journal goes.
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
    follow(&history, &store.rollups()).await.unwrap();
    assert_eq!(model.compare_queries(&history).await.unwrap(), NONE, "seed {seed}");
}

/// The log was given more partitions, and users moved: what is new comes from both at once, and so do repeats.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_write_the_same_at_once_count_it_once() {
    let Some(databases) = Databases::new() else { return };
    let seed = seed();
    let config = TrafficConfig { malformed: 0.0, without_id: 0.0, repeats: 0.0, ..dense(seed) };
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
#[tokio::test(flavor = "multi_thread")]
async fn rollups_written_by_several_at_once_are_there_once() {
    let Some(databases) = Databases::new() else { return };
    let seed = seed();
    let partitions = partitions(&dense(seed));
    let model = model(&partitions, LikePolicy::Unique);
    let url = databases.url().await;
    let (one, two) = (connect(settings(&url)).await, connect(settings(&url)).await);
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
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_write_the_same_entries_at_once_one_counts() {
    let Some(databases) = Databases::new() else { return };
    let url = databases.url().await;
    let (one, two) = (connect(settings(&url)).await, connect(settings(&url)).await);
    let (first, second) = (one.rollups(), two.rollups());
    for i in 0..20 {
        let entries = [entry(i, i + 1, &[("a", &format!("p{i}"), "comment"), ("a", "p", "comment")])];
        for rollups in [&first, &second] {
            // What it knows of the position is as old as its last write.
            rollups.position(Partition(0)).await.unwrap();
            assert_eq!(rollups.apply(Partition(0), &entries).await.unwrap(), i + 1);
        }
        let (a, b) = tokio::join!(first.close(), second.close());
        a.and(b).unwrap();
        assert_eq!(one.history().post(&post("p")).await.unwrap().unwrap().comments, i as i64 + 1);
    }
}
