//! History and counters against the reference model, however the log is cut into batches.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::codec::{Codec, JsonCodec, Place};
use feedkit_core::counters::chunks;
use feedkit_core::effect::{LikePolicy, LoggedEvent};
use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::{CommitBatch, CommitCounts, JournalRead, Rejected};
use feedkit_core::memory::MemoryHistory;
use feedkit_core::pipeline::CounterFollower;
use feedkit_core::source::Record;
use feedkit_core::testkit::{Model, TrafficConfig};
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, Epoch, History, Offset, Partition, Queries, Timestamp};
use feedkit_store::sqlite::{Sqlite, SqliteHistory};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::history::Directories;
use super::support::open;

const LOG: u128 = 7;
const NONE: [String; 0] = [];

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
fn dense(seed: u64) -> TrafficConfig {
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
pub(super) struct Committer<'a> {
    partitions: &'a [Vec<Record>],
    at: Vec<usize>,
    pub(super) counts: CommitCounts,
}

impl<'a> Committer<'a> {
    pub(super) fn new(partitions: &'a [Vec<Record>]) -> Self {
        Committer { partitions, at: vec![0; partitions.len()], counts: CommitCounts::default() }
    }

    /// The partitions that have more to commit.
    fn open(&self) -> Vec<usize> {
        (0..self.at.len()).filter(|p| self.at[*p] < self.partitions[*p].len()).collect()
    }

    /// The time of the oldest record still to be committed.
    pub(super) fn oldest_left(&self) -> Option<Timestamp> {
        self.open().into_iter().map(|p| self.partitions[p][self.at[p]].time).min()
    }

    /// `rounds` times: one batch of each of some partitions, all at once.
    pub(super) async fn go(&mut self, history: &SqliteHistory, rng: &mut ChaCha8Rng, rounds: usize) {
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

/// Splits a dense traffic at random, opens the directory anew in between, and compares everything at the end.
async fn check(seed: u64, policy: LikePolicy) {
    let trending = Trending::new(Duration::from_secs(1));
    // Scores pass through several landmarks.
    let config = TrafficConfig { rate: 5.0, ..dense(seed) };
    let partitions = partitions(&config);
    let model = model(&partitions, policy);
    let dir = tempfile::tempdir().unwrap();
    let history = |store: &Sqlite| store.history().with_like_policy(policy).with_trending(trending);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut committer = Committer::new(&partitions);
    while !committer.open().is_empty() {
        let store = open(dir.path()).await;
        let rounds = rng.random_range(1..20);
        committer.go(&history(&store), &mut rng, rounds).await;
        store.close().await;
    }
    assert_eq!(committer.counts, model.counts, "seed {seed}");

    let store = open(dir.path()).await;
    let history = history(&store);
    if policy == LikePolicy::Unique {
        assert_eq!(model.compare_queries(&history).await.unwrap(), NONE, "seed {seed}");
    }
    assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
    assert_eq!(model.compare_journal(&history).await.unwrap(), NONE, "seed {seed}");
    let now = config.start.saturating_add(Duration::from_secs(300));
    compare_trending(&model, &history, &trending, now, seed).await;

    history.rebuild_totals().await.unwrap();
    assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}, rebuilt");
    compare_trending(&model, &history, &trending, now, seed).await;

    // Counters beside it, from its journal: partition after partition.
    let counters = store.counters().with_trending(trending);
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

/// All that is liked, in the model's order, with scores to a billionth.
async fn compare_trending(
    model: &Model,
    history: &SqliteHistory,
    trending: &Trending,
    now: Timestamp,
    seed: u64,
) {
    let listed = history.trending(now, usize::MAX).await.unwrap();
    assert_eq!(listed.len(), model.top().len(), "seed {seed}");
    assert!(listed.is_sorted_by(|a, b| a.score >= b.score), "seed {seed}");
    let scores = model.scores(trending);
    for post in listed {
        let expected = trending.at(scores[&post.post_id], now);
        let near = (post.score - expected).abs() <= 1e-9 * expected.abs().max(1.0);
        assert!(near, "seed {seed}: {} trends at {}, expected {expected}", post.post_id, post.score);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_split_into_batches_gives_the_models_counts() {
    for _ in 0..8 {
        check(seed(), LikePolicy::Unique).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_split_counts_every_like_where_that_is_the_policy() {
    for _ in 0..4 {
        check(seed(), LikePolicy::Every).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_read_again_from_the_start_changes_nothing() {
    let seed = seed();
    let partitions = partitions(&dense(seed));
    let model = model(&partitions, LikePolicy::Unique);
    let directories = Directories::default();
    let history = directories.store().await.history();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut first = Committer::new(&partitions);
    while !first.open().is_empty() {
        first.go(&history, &mut rng, 20).await;
    }
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
    assert_eq!(model.compare_queries(&history).await.unwrap(), NONE, "seed {seed}");
}

/// The log was given more partitions, and users moved: their repeats come from where nothing as new was seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_kept_under_another_partition_is_found() {
    let seed = seed();
    let config = TrafficConfig { malformed: 0.0, without_id: 0.0, ..dense(seed) };
    let records: Vec<Record> = (0..)
        .zip(config.traffic())
        .map(|(offset, item)| Record { offset, time: item.time, key: None, value: item.value })
        .collect();
    let directories = Directories::default();
    let history = directories.store().await.history();
    let (old, new) = (Partition(0), Partition(1));
    let [old_epoch, new_epoch] =
        [history.claim(old, "g").await.unwrap().epoch, history.claim(new, "g").await.unwrap().epoch];
    let first = history.commit(Arc::new(batch(old, old_epoch, 0, &records[..1_000]))).await.unwrap();
    // The new partition has seen one old event: all that come after it are taken to be new.
    let one = history.commit(Arc::new(batch(new, new_epoch, 0, &records[..1]))).await.unwrap();
    assert_eq!((one.counts.duplicates, one.counts.effects), (1, 0), "seed {seed}");
    let totals = history.top(None, 100).await.unwrap();

    let repeats = batch(new, new_epoch, 1, &records[1..1_000]);
    let fresh = batch(new, new_epoch, 1_000, &records[1_000..]);
    let done = history.commit(Arc::new(repeats)).await.unwrap();
    assert_eq!((done.counts.duplicates, done.counts.effects), (999, 0), "seed {seed}");
    assert_eq!(history.top(None, 100).await.unwrap(), totals, "seed {seed}: what was tried first is undone");

    // In one group with a commit of its own partition, and mixed with what is new.
    let mut mixed = batch(old, old_epoch, 1_000, &records[1_000..1_200]);
    mixed.events.truncate(150);
    let (a, b) = tokio::join!(history.commit(Arc::new(mixed)), history.commit(Arc::new(fresh)));
    let counts = [a.unwrap().counts, b.unwrap().counts];
    let model = model(&[records], LikePolicy::Unique);
    let accepted = first.counts.accepted + counts.iter().map(|c| c.accepted).sum::<u64>();
    assert_eq!(accepted, model.counts.accepted, "seed {seed}");
    assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
}

/// Counters here, the history elsewhere: in step, lost, and those of another history.
#[tokio::test(flavor = "multi_thread")]
async fn counters_follow_a_history_elsewhere_and_are_rebuilt_from_it() {
    let seed = seed();
    let config = dense(seed);
    let (partitions, trending) = (partitions(&config), Trending::default());
    let model = model(&partitions, LikePolicy::Unique);
    let now = config.start.saturating_add(Duration::from_secs(300));
    let history = Arc::new(MemoryHistory::new());
    for (p, records) in (0..).map(Partition).zip(&partitions) {
        let epoch = history.claim(p, "g").await.unwrap().epoch;
        for part in records.chunks(70) {
            history.commit(Arc::new(batch(p, epoch, part[0].offset, part))).await.unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for run in 0..4 {
        // A bounded part of the journal each time the directory is opened, as after a crash.
        let store = open(dir.path()).await;
        let follower = CounterFollower::new("counters", store.counters(), history.clone(), trending);
        for p in (0..4).map(Partition) {
            let FollowerPosition::At(at) = follower.position(p).await.unwrap() else { panic!("seed {seed}") };
            let most = if run < 3 { 150 } else { usize::MAX };
            let JournalRead::Entries(entries) = history.journal(p, at, most).await.unwrap() else { panic!() };
            follower.apply(p, &entries).await.unwrap();
        }
        store.close().await;
    }
    let store = open(dir.path()).await;
    let counters = store.counters();
    assert_eq!(model.compare_counters(&counters, &trending, now).await.unwrap(), NONE, "seed {seed}");

    // As if another history had been followed before.
    let other = Arc::new(MemoryHistory::new());
    let foreign = CounterFollower::new("counters", counters.clone(), other.clone(), trending);
    assert!(matches!(foreign.position(Partition(0)).await.unwrap(), FollowerPosition::Rebuild(_)));
    foreign.rebuild(&*other).await.unwrap();
    assert!(counters.top(10).await.unwrap().is_empty());
    let follower = CounterFollower::new("counters", counters.clone(), history.clone(), trending);
    follower.rebuild(&*history).await.unwrap();
    for p in (0..4).map(Partition) {
        let end = history.claimed(p).await.unwrap().position;
        assert_eq!(follower.position(p).await.unwrap(), FollowerPosition::At(end), "seed {seed}");
    }
    assert_eq!(model.compare_counters(&counters, &trending, now).await.unwrap(), NONE, "seed {seed}");
}
