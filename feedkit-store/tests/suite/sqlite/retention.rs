//! What retention leaves, what totals are rebuilt from then, and how damage shows.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::effect::{LikePolicy, remove_repeats};
use feedkit_core::history::{JournalRead, PostTotals, Retained, RetentionPolicy};
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{at, batch as small_batch, event, post};
use feedkit_core::testkit::{ManualClock, Model, TrafficConfig};
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, EventId, History, Offset, Partition, Queries, Timestamp};
use feedkit_store::sqlite::{Sqlite, SqliteHistory, SqliteOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model::{Committer, batch, model, partitions, seed};
use super::support::{copy_live, open};

const DAY: Duration = Duration::from_secs(86_400);
const P0: Partition = Partition(0);
const NONE: [String; 0] = [];

/// Traffic from January 2025 into April.
fn four_months(seed: u64) -> TrafficConfig {
    TrafficConfig {
        seed,
        count: 3_000,
        users: 30,
        posts: 40,
        likes: 0.5,
        unlikes: 0.3,
        repeats: 0.05,
        without_id: 0.0,
        rate: 3_000.0 / (115.0 * 86_400.0),
        ..Default::default()
    }
}

/// Four months of traffic, committed, and the time after it.
struct Months {
    dir: tempfile::TempDir,
    store: Sqlite,
    history: SqliteHistory,
    clock: ManualClock,
    model: Model,
    partitions: Vec<Vec<Record>>,
}

impl Months {
    async fn new(seed: u64) -> Months {
        let config = four_months(seed);
        let clock = ManualClock::at(config.start);
        let dir = tempfile::tempdir().unwrap();
        let store =
            Sqlite::open(dir.path(), SqliteOptions::default(), Arc::new(clock.clone())).await.unwrap();
        let history = store.history();
        let partitions = partitions(&config);
        for (p, records) in (0..).map(Partition).zip(&partitions) {
            let epoch = history.claim(p, "g").await.unwrap().epoch;
            for part in records.chunks(50) {
                history.commit(Arc::new(batch(p, epoch, part[0].offset, part))).await.unwrap();
            }
        }
        clock.set(partitions.iter().flat_map(|p| p.last()).map(|r| r.time).max().unwrap());
        let model = model(&partitions, LikePolicy::Unique);
        Months { dir, store, history, clock, model, partitions }
    }

    /// Keeps so many days of events and journal.
    async fn retain(&self, events: u32, journal: u32) -> Retained {
        let policy =
            RetentionPolicy { events: events * DAY, journal: journal * DAY, follower_silence: 7 * DAY };
        self.history.retain(&policy, self.clock.now()).await.unwrap()
    }

    async fn note(&self, follower: &str, positions: [Offset; 4]) {
        for (p, position) in (0..).map(Partition).zip(positions) {
            self.history.note_follower(follower, p, position).await.unwrap();
        }
    }

    /// Where the journal of each partition begins.
    async fn starts(&self) -> [Offset; 4] {
        let mut starts = [0; 4];
        for (p, start) in (0..).map(Partition).zip(&mut starts) {
            *start = match self.history.journal(p, 0, 1).await.unwrap() {
                JournalRead::Entries(_) => 0,
                JournalRead::Expired(start) => start,
            };
        }
        starts
    }

    async fn differences(&self) -> Vec<String> {
        self.history.verify().await.unwrap().differences
    }
}

async fn totals(history: &SqliteHistory) -> Vec<PostTotals> {
    history.snapshot().await.unwrap().next(usize::MAX).await.unwrap()
}

/// Comments go with the raw events; the rest of the model's answers stay.
async fn compare(months: &Months) -> Vec<String> {
    let mut differences = months.model.compare_queries(&months.history).await.unwrap();
    differences.retain(|d| !d.starts_with("comments on "));
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn baseline_and_raw_events_give_the_totals() {
    let months = Months::new(seed()).await;
    let before = totals(&months.history).await;
    let dropped = months.retain(60, 1000).await;
    assert!(dropped.events > 500, "{dropped:?}");
    assert_eq!(months.history.verify().await.unwrap().events, months.model.counts.accepted - dropped.events);
    assert_eq!(compare(&months).await, NONE);
    assert_eq!(totals(&months.history).await, before);
    assert_eq!(months.retain(60, 1000).await.events, 0, "nothing is dropped twice");

    // A later month on top of the baseline.
    let more = months.retain(20, 1000).await;
    assert!(more.events > 300, "{more:?}");
    assert_eq!(compare(&months).await, NONE);

    months.history.rebuild_totals().await.unwrap();
    assert_eq!(compare(&months).await, NONE);
    let rebuilt = totals(&months.history).await;
    let trending = Trending::default();
    // Of dropped likes only the hour is known: they count up to an hour older, which is 2^(1/6).
    let now = months.clock.now();
    assert_eq!(rebuilt.len(), before.len());
    for (old, new) in before.iter().zip(&rebuilt) {
        assert_eq!((&old.post, &old.author, &old.counts), (&new.post, &new.author, &new.counts));
        let (old, new) = (trending.at(old.score, now), trending.at(new.score, now));
        assert!((new - old).abs() <= 0.13 * old.abs() + 1e-3, "{new}, before {old}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_and_rebuilding_between_commits_change_no_count() {
    for _ in 0..4 {
        let seed = seed();
        let config = four_months(seed);
        let partitions = partitions(&config);
        let model = model(&partitions, LikePolicy::Unique);
        let dir = tempfile::tempdir().unwrap();
        let history = open(dir.path()).await.history();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut committer = Committer::new(&partitions);
        let policy = RetentionPolicy { events: 20 * DAY, journal: 10 * DAY, follower_silence: DAY };
        let mut retained = 0;
        while let Some(now) = committer.oldest_left() {
            let rounds = rng.random_range(1..8);
            committer.go(&history, &mut rng, rounds).await;
            retained += history.retain(&policy, now).await.unwrap().events;
            if rng.random_bool(0.2) {
                history.rebuild_totals().await.unwrap();
            }
            assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
        }
        // In the end nothing but the baseline is left.
        let done = history.retain(&policy, config.start.saturating_add(200 * DAY)).await.unwrap();
        assert_eq!(retained + done.events, model.counts.accepted, "seed {seed}");
        history.rebuild_totals().await.unwrap();
        // A repeat of what was dropped may be rejected instead of recognised.
        let (got, expected) = (committer.counts, model.counts);
        assert_eq!((got.accepted, got.effects), (expected.accepted, expected.effects), "seed {seed}");
        let refused = (got.duplicates + got.rejected, expected.duplicates + expected.rejected);
        assert_eq!(refused.0, refused.1, "seed {seed}");
        let mut differences = model.compare_queries(&history).await.unwrap();
        differences.retain(|d| !d.starts_with("comments on ") && !d.starts_with("rejected records"));
        assert_eq!(differences, NONE, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_liked_no_longer_stays_a_post() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path()).await.history();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let events = vec![event(0, "a", "gone", "like"), event(1, "a", "gone", "unlike")];
    history.commit(Arc::new(small_batch(epoch, 0, 10, events))).await.unwrap();
    let policy = RetentionPolicy { events: DAY, journal: DAY, follower_silence: DAY };
    assert_eq!(history.retain(&policy, at(60 * 86_400)).await.unwrap().events, 2);
    history.rebuild_totals().await.unwrap();
    assert_eq!(history.post(&post("gone")).await.unwrap().map(|p| p.likes), Some(0));
    assert_eq!(history.verify().await.unwrap().differences, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn likes_of_one_hour_whose_ids_are_months_apart_add_up_and_trend_from_their_hour() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path()).await.history();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let mut events: Vec<_> =
        (0..).zip(["a", "b", "c"]).map(|(i, user)| event(i, user, "p", "like")).collect();
    for (i, logged) in (0..).zip(&mut events) {
        logged.event.id = EventId::derived(at(i * 31 * 86_400), 7);
        logged.event.time = at(1800);
    }
    history.commit(Arc::new(small_batch(epoch, 0, 10, events))).await.unwrap();
    let score = async || history.trending(at(0), 1).await.unwrap()[0].score;
    assert!((score().await - 3.0 * 2f64.powf(0.5 / 6.0)).abs() < 1e-9);
    let policy = RetentionPolicy { events: DAY, journal: DAY, follower_silence: DAY };
    for (days, dropped) in [(33, 1), (65, 1), (95, 1)] {
        assert_eq!(history.retain(&policy, at(days * 86_400)).await.unwrap().events, dropped);
        assert_eq!(history.verify().await.unwrap().differences, NONE);
    }
    history.rebuild_totals().await.unwrap();
    assert!((score().await - 3.0).abs() < 1e-9, "as if liked when the hour began");
    assert_eq!(history.top(Some(at(0)), 1).await.unwrap()[0].likes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_a_repeat_of_what_was_dropped_is_too_old() {
    let months = Months::new(seed()).await;
    let first = &months.partitions[0];
    let end = first.len() as Offset;
    months.retain(60, 1000).await;
    let horizon: Timestamp = "2025-02-01T00:00:00Z".parse().unwrap();
    let before = totals(&months.history).await;
    // The partition's first records again.
    let epoch = months.history.claim(P0, "g").await.unwrap().epoch;
    let again: Vec<_> =
        first[..200].iter().zip(end..).map(|(record, offset)| Record { offset, ..record.clone() }).collect();
    let mut repeats = batch(P0, epoch, end, &again);
    remove_repeats(&mut repeats.events);
    let old = repeats.events.iter().filter(|e| e.event.id.time() < horizon).count() as u64;
    assert!(old > 100, "{old}");
    let rejected_before = months.history.rejected(None, usize::MAX).await.unwrap().len() as u64;
    let done = months.history.commit(Arc::new(repeats.clone())).await.unwrap();
    assert_eq!(done.counts.rejected, old + repeats.rejected.len() as u64);
    let rejected = months.history.rejected(None, usize::MAX).await.unwrap();
    assert_eq!(rejected.len() as u64, rejected_before + done.counts.rejected);
    let too_old: Vec<_> = rejected.iter().filter(|r| r.reason == "too_old").collect();
    assert_eq!(too_old.len() as u64, old);
    assert!(too_old.iter().all(|r| r.field.as_deref() == Some("id") && r.value.contains("userId")));
    assert_eq!(done.counts.effects, 0, "{:?}", done.entry.effects);
    assert_eq!(totals(&months.history).await, before);
    assert_eq!(months.differences().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_kept_for_the_slowest_follower_that_is_heard_of() {
    let months = Months::new(1).await;
    let ends: Vec<Offset> = months.partitions.iter().map(|p| p.len() as Offset).collect();
    let ends: [Offset; 4] = ends.try_into().unwrap();
    months.note("fast", ends).await;
    months.note("slow", [120, ends[1], 0, 99]).await;
    let dropped = months.retain(1000, 0).await;
    let newest = |p: usize| (ends[p] - 1) / 50 * 50;
    assert_eq!(months.starts().await, [100, newest(1), 0, 50], "whole entries, and the newest stays");
    assert_eq!(dropped.journal_entries, 2 + newest(1) / 50 + 1);
    assert_eq!(dropped.followers, 0);
    let JournalRead::Entries(entries) = months.history.journal(P0, 120, 1).await.unwrap() else { panic!() };
    assert_eq!((entries[0].from, entries[0].to), (100, 150));

    // A follower heard of in one partition may not have come to the others yet.
    months.history.note_follower("new", P0, ends[0]).await.unwrap();
    months.note("slow", ends).await;
    months.retain(1000, 0).await;
    assert_eq!(months.starts().await, [newest(0), newest(1), 0, 50]);

    // Eight days later only one has said anything.
    months.clock.advance(8 * DAY);
    months.note("fast", ends).await;
    let dropped = months.retain(1000, 0).await;
    assert_eq!(dropped.followers, 2);
    assert_eq!(months.starts().await, [0, 1, 2, 3].map(newest));
    assert_eq!(months.differences().await, NONE);
    assert_eq!(months.retain(1000, 0).await, Retained::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_reaches_back_for_as_long_as_the_policy_says() {
    let months = Months::new(2).await;
    months.note("any", [Offset::MAX; 4]).await;
    months.retain(1000, 30).await;
    let from = months.clock.now().saturating_sub(30 * DAY);
    for (p, start) in months.starts().await.into_iter().enumerate() {
        assert!(start > 0);
        // The entry before the first one kept ends with the record before it.
        let records = &months.partitions[p];
        assert!(records[start as usize - 1].time < from, "partition {p} from {start}");
        let kept = (start as usize + 50).min(records.len());
        assert!(records[kept - 1].time >= from, "partition {p} from {start}");
    }
    assert_eq!(months.differences().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_leaves_no_hole_in_the_journal() {
    let months = Months::new(3).await;
    let history = &months.history;
    let partition = Partition(9);
    let epoch = history.claim(partition, "g").await.unwrap().epoch;
    for (from, now) in [(0, 1), (10, 5_000_000), (20, 2), (30, 3)] {
        let mut one = small_batch(epoch, from, from + 10, vec![event(from, "a", "p", "comment")]);
        (one.partition, one.now) = (partition, at(now));
        history.commit(Arc::new(one)).await.unwrap();
    }
    let policy = RetentionPolicy { events: 9999 * DAY, journal: Duration::ZERO, follower_silence: DAY };
    history.retain(&policy, at(100)).await.unwrap();
    assert!(matches!(history.journal(partition, 0, 1).await.unwrap(), JournalRead::Expired(10)));
    assert_eq!(months.differences().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named() {
    let months = Months::new(4).await;
    months.retain(60, 1000).await;
    months.note("any", [Offset::MAX, 0, 0, 0]).await;
    months.retain(60, 0).await;
    assert_eq!(months.differences().await, NONE);
    let liked = months.model.top()[0].0.to_string();
    let like = format!("post = '{liked}' AND kind = 'like'");
    let user = months.model.likes[&months.model.top()[0].0].first().unwrap().to_string();
    let one = |table: &str, what: &str| {
        format!(
            "(hour, post, kind) = (SELECT hour, post, kind FROM {table} WHERE {what} AND count <> 0 LIMIT 1)"
        )
    };
    let journal = |p: u32, order: &str| {
        format!(
            "DELETE FROM journal WHERE rowid = (SELECT rowid FROM journal WHERE partition = {p} ORDER BY first {order})"
        )
    };
    // What is changed, and how each difference then begins.
    let cases: [(String, &[&str]); 9] = [
        (format!("UPDATE post_totals SET count = count + 1 WHERE {like}"), &["total p", "number of users who like p"]),
        (format!("DELETE FROM post_totals WHERE {like}"), &["total p", "number of users who like p"]),
        (format!("UPDATE post_hourly SET count = count + 2 WHERE {}", one("post_hourly", &like)), &["hourly sum "]),
        (
            format!("UPDATE event_baseline SET count = count + 2 WHERE {}", one("event_baseline", &like)),
            &["hourly sum ", "total p"],
        ),
        (
            format!("DELETE FROM likes WHERE post = '{liked}' AND user = '{user}'"),
            &["number of users who like p"],
        ),
        (
            "UPDATE posts SET author = 'x' WHERE post = (SELECT post FROM events WHERE kind = 'post' AND effect <> 0)"
                .to_owned(),
            &["author of p"],
        ),
        (journal(1, "LIMIT 1"), &["journal of partition 1: reaches 0, goes on at 50"]),
        (journal(2, "LIMIT 1 OFFSET 3"), &["journal of partition 2: reaches 150, goes on at 200"]),
        (journal(0, "DESC LIMIT 1"), &["journal of partition 0: reaches "]),
    ];
    months.store.close().await;
    for (sql, names) in cases {
        let copy = copy_live(months.dir.path());
        let connection = rusqlite::Connection::open(copy.path().join("state.db")).unwrap();
        assert_eq!(connection.execute(&sql, []).unwrap(), 1, "{sql}");
        drop(connection);
        let store = open(copy.path()).await;
        let found = store.history().verify().await.unwrap();
        assert_eq!(found.difference_count, names.len() as u64, "{sql}: {:?}", found.differences);
        for (difference, name) in found.differences.iter().zip(names) {
            assert!(difference.starts_with(name), "{sql}: {difference}, expected {name}");
        }
    }
}
