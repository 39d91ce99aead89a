//! The memory history against the reference model, however the log is split into batches.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::counters::chunks;
use feedkit_core::effect::LikePolicy;
use feedkit_core::history::{CommitCounts, JournalRead, RetentionPolicy};
use feedkit_core::memory::{MemoryCounters, MemoryHistory};
use feedkit_core::source::Record;
use feedkit_core::testkit::ManualClock;
use feedkit_core::testkit::split::{LOG, batch, model, partitions};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, History, Inspect, Offset, Partition, PostId, Queries, Timestamp, UserId};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Commits all records in batches of random sizes, partitions taking turns at random.
async fn commit_all(
    history: &MemoryHistory,
    partitions: &[Vec<Record>],
    rng: &mut ChaCha8Rng,
) -> CommitCounts {
    let mut counts = CommitCounts::default();
    let mut at = vec![0; partitions.len()];
    let mut epochs = Vec::new();
    for p in 0..partitions.len() {
        epochs.push(history.claim(Partition(p as u32), "g").await.unwrap().epoch);
    }
    let mut open: Vec<usize> = (0..partitions.len()).filter(|p| !partitions[*p].is_empty()).collect();
    while !open.is_empty() {
        open.shuffle(rng);
        let p = open[0];
        let size = rng.random_range(1..200).min(partitions[p].len() - at[p]);
        let records = &partitions[p][at[p]..at[p] + size];
        let batch = batch(Partition(p as u32), epochs[p], at[p] as Offset, records);
        counts += history.commit(Arc::new(batch)).await.unwrap().counts;
        at[p] += size;
        open.retain(|p| at[*p] < partitions[*p].len());
    }
    counts
}

async fn check(seed: u64, policy: LikePolicy) {
    let malformed = 0.03;
    let config = TrafficOptions::default().seed(seed).users(40).posts(30).count(3_000).malformed(malformed);
    let partitions = partitions(&config);
    let model = model(&partitions, policy);
    let history = MemoryHistory::new().with_like_policy(policy);
    let counts = commit_all(&history, &partitions, &mut ChaCha8Rng::seed_from_u64(seed)).await;
    assert_eq!(counts, model.counts, "seed {seed}");
    let none: Vec<String> = Vec::new();
    if policy == LikePolicy::Unique {
        assert_eq!(model.compare_queries(&history).await.unwrap(), none, "seed {seed}");
    }
    assert_eq!(model.compare_journal(&history).await.unwrap(), none, "seed {seed}");

    let trending = Trending::new(Duration::from_secs(600));
    let counters = MemoryCounters::new(trending);
    for p in (0..4).map(Partition) {
        let JournalRead::Entries(entries) = history.journal(p, 0, usize::MAX).await.unwrap() else {
            panic!()
        };
        for chunk in entries.iter().flat_map(|e| chunks(e, 1, &trending)) {
            counters.apply(&chunk).await.unwrap();
        }
    }
    let now = config.start.saturating_add(Duration::from_secs(300));
    assert_eq!(model.compare_counters(&counters, &trending, now).await.unwrap(), none, "seed {seed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_into_batches_gives_the_models_counts(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(seed, LikePolicy::Unique));
        runtime.block_on(check(seed, LikePolicy::Every));
    }

    #[test]
    fn chains_of_likes_and_unlikes_end_as_one_at_a_time(
        kinds in prop::collection::vec((0..2u8, 0..2u8, any::<bool>()), 1..60),
        cut in 1usize..20,
    ) {
        let records: Vec<_> = (0..).zip(&kinds).map(|(offset, (user, post, like))| {
            let kind = if *like { "like" } else { "unlike" };
            let value = format!(r#"{{"userId":"u{user}","postId":"p{post}","type":"{kind}"}}"#);
            let time = Timestamp::from_millis(1_735_689_600_000);
            Record { offset, time, key: None, value: value.into() }
        }).collect();
        let mut liked = std::collections::BTreeSet::new();
        let mut effects = 0;
        for (user, post, like) in &kinds {
            effects += u64::from(if *like { liked.insert((user, post)) } else { liked.remove(&(user, post)) });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let history = MemoryHistory::new();
            let epoch = history.claim(Partition(0), "g").await.unwrap().epoch;
            let mut counts = CommitCounts::default();
            for part in records.chunks(cut) {
                let batch = batch(Partition(0), epoch, part[0].offset, part);
                counts += history.commit(Arc::new(batch)).await.unwrap().counts;
            }
            assert_eq!(counts.effects, effects);
            for post in [0, 1] {
                let id = PostId::new(format!("p{post}")).unwrap();
                let expected: Vec<_> = liked.iter().filter(|(_, p)| **p == post)
                    .map(|(u, _)| UserId::new(format!("u{u}")).unwrap()).collect();
                let mut likers = Vec::new();
                for user in [0, 1].map(|u| UserId::new(format!("u{u}")).unwrap()) {
                    let likes = history.liked(&user, std::slice::from_ref(&id)).await.unwrap();
                    likers.extend((!likes.is_empty()).then_some(user));
                }
                assert_eq!(likers, expected);
                let likes = history.post(&id).await.unwrap().map_or(0, |p| p.likes);
                assert_eq!(likes, expected.len() as i64);
            }
        });
    }
}

#[tokio::test]
async fn retention_keeps_totals_and_what_followers_need() {
    let config = TrafficOptions::default().count(2_000).rate(0.005);
    let partitions = partitions(&config);
    let day = Duration::from_secs(86_400);
    let clock = ManualClock::at(config.start.saturating_add(5 * day));
    let history = MemoryHistory::with_clock(clock.clone());
    commit_all(&history, &partitions, &mut ChaCha8Rng::seed_from_u64(1)).await;
    let model = model(&partitions, LikePolicy::Unique);
    let policy = RetentionPolicy::default().events(day).journal(day).follower_silence(day);
    let first = Partition(0);
    history.note_follower("slow", first, 100).await.unwrap();
    for p in 1..4 {
        history.note_follower("slow", Partition(p), u64::MAX).await.unwrap();
    }
    let retained = history.retain(&policy, clock.now_plus(Duration::ZERO)).await.unwrap();
    assert!(retained.events > 100 && retained.journal_entries > 3 && retained.followers == 0, "{retained:?}");
    let JournalRead::Entries(entries) = history.journal(first, 100, 10).await.unwrap() else {
        panic!("the follower's entries are gone")
    };
    assert!(entries[0].from <= 100 && entries[0].to > 100);
    assert_eq!(model.compare_queries(&history).await.unwrap(), Vec::<String>::new());
    assert!(history.verify().await.unwrap().events < model.counts.accepted);

    let retained = history.retain(&policy, clock.now_plus(2 * day)).await.unwrap();
    assert_eq!(retained.followers, 1, "it has been silent for two days");
    let JournalRead::Expired(start) = history.journal(first, 100, 10).await.unwrap() else {
        panic!("nobody holds the journal back")
    };
    assert!(start > 100);
    assert_eq!(model.compare_queries(&history).await.unwrap(), Vec::<String>::new());
}

trait NowPlus {
    fn now_plus(&self, by: Duration) -> Timestamp;
}

impl NowPlus for ManualClock {
    fn now_plus(&self, by: Duration) -> Timestamp {
        feedkit_core::Clock::now(self).saturating_add(by)
    }
}

#[tokio::test]
async fn a_partition_that_goes_back_makes_followers_start_over() {
    let history = MemoryHistory::new();
    let partition = Partition(0);
    let epoch = history.claim(partition, "g").await.unwrap().epoch;
    let record = |offset| Record { offset, time: Timestamp::EPOCH, key: None, value: "{".into() };
    history.commit(Arc::new(batch(partition, epoch, 0, &[record(9)]))).await.unwrap();
    let first = history.incarnation().await.unwrap();
    history.accept_gap(partition, LOG, 30, Timestamp::EPOCH).await.unwrap();
    assert_eq!(history.incarnation().await.unwrap(), first, "followers go over a gap that lies ahead");
    history.accept_gap(partition, LOG + 1, 5, Timestamp::EPOCH).await.unwrap();
    assert_ne!(history.incarnation().await.unwrap(), first, "offsets behind the followers come up again");

    let stale = batch(partition, epoch, 5, &[record(6)]);
    let refused = history.commit(Arc::new(stale)).await.unwrap_err();
    assert_eq!(refused.kind(), feedkit_core::ErrorKind::Gap, "it was read from the log before");
}
