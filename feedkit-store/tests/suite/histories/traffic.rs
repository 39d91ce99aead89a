//! Dense traffic, and committing it.

use std::sync::Arc;

use feedkit_core::history::CommitCounts;
use feedkit_core::source::Record;
use feedkit_core::testkit::split::batch;
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{History, Offset, Partition, Timestamp};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A new seed, which a failing test prints.
pub(crate) fn seed() -> u64 {
    let seed = rand::random();
    println!("seed {seed}");
    seed
}

/// Traffic of few users and posts: likes meet unlikes, repeats meet the events that they repeat,
/// and batches touch the same posts.
pub(crate) fn dense(seed: u64) -> TrafficOptions {
    TrafficOptions::default()
        .seed(seed)
        .users(30)
        .posts(20)
        .count(2_500)
        .likes(0.5)
        .unlikes(0.3)
        .repeats(0.05)
        .malformed(0.03)
}

/// Commits the rest of each partition in batches of random sizes, several partitions at once.
pub(crate) struct Committer<'a> {
    partitions: &'a [Vec<Record>],
    at: Vec<usize>,
    pub(crate) counts: CommitCounts,
}

impl<'a> Committer<'a> {
    pub(crate) fn new(partitions: &'a [Vec<Record>]) -> Self {
        Committer { partitions, at: vec![0; partitions.len()], counts: CommitCounts::default() }
    }

    /// The partitions that have more to commit.
    pub(crate) fn open(&self) -> Vec<usize> {
        (0..self.at.len()).filter(|p| self.at[*p] < self.partitions[*p].len()).collect()
    }

    /// The time of the oldest record that is not committed yet.
    pub(crate) fn oldest_left(&self) -> Option<Timestamp> {
        self.open().into_iter().map(|p| self.partitions[p][self.at[p]].time).min()
    }

    /// Commits `rounds` times one batch of each of some partitions, all at once.
    pub(crate) async fn go(&mut self, history: &(impl History + Clone), rng: &mut ChaCha8Rng, rounds: usize) {
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
