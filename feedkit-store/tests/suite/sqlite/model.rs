//! Counts when users move to other partitions, and counters that follow a history in another store.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::effect::LikePolicy;
use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::JournalRead;
use feedkit_core::memory::MemoryHistory;
use feedkit_core::pipeline::CounterFollower;
use feedkit_core::source::Record;
use feedkit_core::testkit::split::{batch, model, partitions};
use feedkit_core::trending::Trending;
use feedkit_core::{Counts, History, Inspect, Partition, Queries};

use super::support::open;
use crate::histories::NONE;
use crate::histories::traffic::{dense, seed};

/// The log got more partitions, and users moved: their repeats come from a partition that has seen
/// nothing as new.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_kept_under_another_partition_is_found() {
    let seed = seed();
    let config = dense(seed).malformed(0.0).without_id(0.0);
    let records: Vec<Record> = (0..)
        .zip(config.traffic())
        .map(|(offset, item)| Record { offset, time: item.time, key: None, value: item.value })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path()).await.history();
    let (old, new) = (Partition(0), Partition(1));
    let [old_epoch, new_epoch] =
        [history.claim(old, "g").await.unwrap().epoch, history.claim(new, "g").await.unwrap().epoch];
    let first = history.commit(Arc::new(batch(old, old_epoch, 0, &records[..1_000]))).await.unwrap();
    // The new partition has seen one old event: all newer events are assumed to be new.
    let one = history.commit(Arc::new(batch(new, new_epoch, 0, &records[..1]))).await.unwrap();
    assert_eq!((one.counts.duplicates, one.counts.effects), (1, 0), "seed {seed}");
    let totals = history.top(None, 100).await.unwrap();

    let repeats = batch(new, new_epoch, 1, &records[1..1_000]);
    let fresh = batch(new, new_epoch, 1_000, &records[1_000..]);
    let done = history.commit(Arc::new(repeats)).await.unwrap();
    assert_eq!((done.counts.duplicates, done.counts.effects), (999, 0), "seed {seed}");
    assert_eq!(history.top(None, 100).await.unwrap(), totals, "seed {seed}: what was tried first is undone");

    // Now in one group with a commit of its own partition, and mixed with new events.
    let mut mixed = batch(old, old_epoch, 1_000, &records[1_000..1_200]);
    mixed.events.truncate(150);
    let (a, b) = tokio::join!(history.commit(Arc::new(mixed)), history.commit(Arc::new(fresh)));
    let counts = [a.unwrap().counts, b.unwrap().counts];
    let model = model(&[records], LikePolicy::Unique);
    let accepted = first.counts.accepted + counts.iter().map(|c| c.accepted).sum::<u64>();
    assert_eq!(accepted, model.counts.accepted, "seed {seed}");
    assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
}

/// Counters that follow a history in another store: in step, lost, and those of another history.
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
        // Each time the directory is opened, apply a bounded part of the journal, as after a crash.
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
