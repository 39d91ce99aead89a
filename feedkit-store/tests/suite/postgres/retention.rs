//! What retention leaves, and how damage shows.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::effect::{LikePolicy, remove_repeats};
use feedkit_core::history::{JournalRead, Retained, RetentionPolicy};
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{at, batch as small_batch, event};
use feedkit_core::testkit::{ManualClock, Model, TrafficConfig};
use feedkit_core::{Clock, History, Offset, Partition, Queries, Timestamp};
use feedkit_store::postgres::{Postgres, PostgresHistory};

use super::model::{batch, model, partitions, seed};
use super::support::{Databases, NONE, client, connect_at, follow, settings};

const DAY: Duration = Duration::from_secs(86_400);
const P0: Partition = Partition(0);

/// Four months of traffic, committed, and the time after it.
struct Months {
    store: Postgres,
    history: PostgresHistory,
    clock: ManualClock,
    model: Model,
    partitions: Vec<Vec<Record>>,
    url: String,
}

impl Months {
    async fn new(databases: &Databases, seed: u64) -> Months {
        let config = TrafficConfig {
            seed,
            count: 2_000,
            users: 30,
            posts: 40,
            likes: 0.5,
            unlikes: 0.3,
            repeats: 0.05,
            without_id: 0.0,
            rate: 2_000.0 / (115.0 * 86_400.0),
            ..Default::default()
        };
        let clock = ManualClock::at(config.start);
        let url = databases.url().await;
        let store = connect_at(settings(&url), clock.clone()).await;
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
        Months { store, history, clock, model, partitions, url }
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

    fn ends(&self) -> [Offset; 4] {
        let ends: Vec<Offset> = self.partitions.iter().map(|p| p.len() as Offset).collect();
        ends.try_into().unwrap()
    }

    async fn differences(&self) -> Vec<String> {
        self.history.verify().await.unwrap().differences
    }

    /// Comments go with the raw events; the rest of the model's answers stay.
    async fn compare(&self) -> Vec<String> {
        let mut differences = self.model.compare_queries(&self.history).await.unwrap();
        differences.retain(|d| !d.starts_with("comments on "));
        differences
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn baseline_and_raw_events_give_the_totals() {
    let Some(databases) = Databases::new() else { return };
    let seed = seed();
    let months = Months::new(&databases, seed).await;
    // The rollups have taken nothing: retention hands them what it drops the journal of.
    let dropped = months.retain(60, 0).await;
    assert!(dropped.events > 300 && dropped.journal_entries > 10, "seed {seed}: {dropped:?}");
    let left = months.history.verify().await.unwrap();
    assert_eq!(left.events, months.model.counts.accepted - dropped.events, "seed {seed}");
    follow(&months.history, &months.store.rollups()).await.unwrap();
    assert_eq!(months.compare().await, NONE, "seed {seed}");
    let again = months.retain(60, 0).await;
    assert_eq!(again, Retained::default(), "seed {seed}: nothing is dropped twice");

    // A later month on top of the baseline.
    let more = months.retain(20, 0).await;
    assert!(more.events > 200, "seed {seed}: {more:?}");
    assert_eq!(months.compare().await, NONE, "seed {seed}");
    months.history.rebuild_totals().await.unwrap();
    assert_eq!(months.compare().await, NONE, "seed {seed}");

    // In the end nothing but the baseline is left.
    months.clock.advance(200 * DAY);
    months.retain(20, 0).await;
    let left = months.history.verify().await.unwrap();
    assert_eq!((left.events, left.differences), (0, vec![]), "seed {seed}");
    months.history.rebuild_totals().await.unwrap();
    assert_eq!(months.compare().await, NONE, "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_a_repeat_of_what_was_dropped_is_too_old() {
    let Some(databases) = Databases::new() else { return };
    let months = Months::new(&databases, seed()).await;
    // Another process, which does not know that the months are gone.
    let other = connect_at(settings(&months.url), months.clock.clone()).await.history();
    let first = &months.partitions[0];
    let end = first.len() as Offset;
    let again: Vec<_> =
        first[..150].iter().zip(end..).map(|(record, offset)| Record { offset, ..record.clone() }).collect();
    let epoch = other.claim(P0, "g").await.unwrap().epoch;
    let mut once = batch(P0, epoch, end, &again[..1]);
    remove_repeats(&mut once.events);
    other.commit(Arc::new(once)).await.unwrap();

    months.retain(60, 1000).await;
    let horizon: Timestamp = "2025-02-01T00:00:00Z".parse().unwrap();
    let likes = months.history.top(None, 100).await.unwrap();
    let mut repeats = batch(P0, epoch, end + 1, &again[1..]);
    remove_repeats(&mut repeats.events);
    let old = repeats.events.iter().filter(|e| e.event.id.time() < horizon).count() as u64;
    assert!(old > 50, "{old}");
    let done = other.commit(Arc::new(repeats.clone())).await.unwrap();
    assert_eq!(done.counts.rejected, old + repeats.rejected.len() as u64);
    assert_eq!(done.counts.effects, 0, "{:?}", done.entry.effects);
    let rejected = months.history.rejected(None, usize::MAX).await.unwrap();
    let too_old: Vec<_> = rejected.iter().filter(|r| r.reason == "too_old").collect();
    assert_eq!(too_old.len() as u64, old);
    assert!(too_old.iter().all(|r| r.field.as_deref() == Some("id") && r.value.contains("userId")));
    assert_eq!(months.history.top(None, 100).await.unwrap(), likes);
    assert_eq!(months.differences().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_kept_for_the_slowest_follower_that_is_heard_of() {
    let Some(databases) = Databases::new() else { return };
    let months = Months::new(&databases, 1).await;
    let ends = months.ends();
    months.clock.advance(2 * DAY);
    months.note("fast", ends).await;
    months.note("slow", [120, ends[1], ends[2], ends[3]]).await;
    months.retain(1000, 1).await;
    let starts = months.starts().await;
    assert!(starts[0] > 0 && starts[0] <= 120, "whole days: {starts:?}");
    let JournalRead::Entries(entries) = months.history.journal(P0, 120, 1).await.unwrap() else { panic!() };
    assert!(entries[0].from <= 120 && entries[0].to > 120);
    assert_eq!(months.differences().await, NONE);

    // A follower heard of in one partition may not have come to the others yet.
    months.history.note_follower("new", P0, ends[0]).await.unwrap();
    months.note("slow", ends).await;
    months.retain(1000, 1).await;
    assert_eq!(months.starts().await[1..], starts[1..]);

    // Eight days later only one has said anything.
    months.clock.advance(8 * DAY);
    months.note("fast", ends).await;
    let dropped = months.retain(1000, 1).await;
    assert_eq!(dropped.followers, 2);
    assert_eq!(months.starts().await, ends, "every day is over");
    assert_eq!(months.differences().await, NONE);
    assert_eq!(months.retain(1000, 1).await, Retained::default());
    let admin = client(&months.url).await;
    let marked = "SELECT DISTINCT name FROM followers WHERE needs_rebuild ORDER BY name";
    let marked: Vec<String> = admin.query(marked, &[]).await.unwrap().iter().map(|r| r.get(0)).collect();
    assert_eq!(marked, ["new", "slow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_reaches_back_for_as_long_as_the_policy_says() {
    let Some(databases) = Databases::new() else { return };
    let months = Months::new(&databases, 2).await;
    months.retain(1000, 30).await;
    let from = months.clock.now().saturating_sub(30 * DAY);
    for (p, start) in months.starts().await.into_iter().enumerate() {
        assert!(start > 0);
        // The entry before the first one kept ends with the record before it.
        let records = &months.partitions[p];
        assert!(records[start as usize - 1].time < from, "partition {p} from {start}");
    }
    assert_eq!(months.differences().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_leaves_no_hole_in_the_journal() {
    let Some(databases) = Databases::new() else { return };
    let store = databases.store().await;
    let history = store.history();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    for (from, now) in [(0, 1), (10, 5_000_000), (20, 2), (30, 3)] {
        let mut one = small_batch(epoch, from, from + 10, vec![event(from, "a", "p", "comment")]);
        one.now = at(now);
        history.commit(Arc::new(one)).await.unwrap();
    }
    let policy = RetentionPolicy { events: 9999 * DAY, journal: Duration::ZERO, follower_silence: DAY };
    history.retain(&policy, at(5 * 86_400)).await.unwrap();
    assert!(
        matches!(history.journal(P0, 0, 1).await.unwrap(), JournalRead::Entries(_)),
        "its day goes on later"
    );
    history.retain(&policy, at(6_000_000)).await.unwrap();
    assert_eq!(history.verify().await.unwrap().differences, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_under_commits_changes_no_count() {
    let Some(databases) = Databases::new() else { return };
    let seed = seed();
    let months = Months::new(&databases, seed).await;
    let later = months.clock.now().saturating_add(DAY);
    let history = months.history.clone();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let from = months.ends()[0];
    let writing = tokio::spawn(async move {
        for i in 0..60 {
            let at = from + i;
            let mut one = small_batch(epoch, at, at + 1, vec![event(at, &format!("w{i}"), "new", "like")]);
            one.log = super::model::LOG;
            one.now = later;
            one.events[0].event.id = feedkit_core::EventId::derived(later, u128::from(i) << 64);
            one.events[0].event.time = later;
            history.commit(Arc::new(one)).await.unwrap();
        }
    });
    for days in [60, 10] {
        months.retain(days, 0).await;
        assert_eq!(months.differences().await, NONE, "seed {seed}");
    }
    writing.await.unwrap();
    follow(&months.history, &months.store.rollups()).await.unwrap();
    assert_eq!(months.differences().await, NONE, "seed {seed}");
    assert_eq!(months.history.top(None, 1).await.unwrap()[0].likes, 60, "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named() {
    let Some(databases) = Databases::new() else { return };
    let months = Months::new(&databases, 4).await;
    months.retain(60, 1000).await;
    follow(&months.history, &months.store.rollups()).await.unwrap();
    assert_eq!(months.differences().await, NONE);
    let liked = months.model.top()[0].0.to_string();
    let like = format!("post_id = '{liked}' AND kind = 'like'");
    let user = months.model.likes[&months.model.top()[0].0].first().unwrap().to_string();
    let one = |table: &str, what: &str| {
        format!("ctid = (SELECT ctid FROM {table} WHERE {what} AND count <> 0 LIMIT 1)")
    };
    let journal = |p: u32, order: &str| {
        format!(
            "DELETE FROM journal WHERE (partition, first) = \
             (SELECT partition, first FROM journal WHERE partition = {p} ORDER BY first {order})"
        )
    };
    // What is changed, and how each difference then begins.
    let cases: [(String, &[&str]); 9] = [
        (
            format!("UPDATE post_totals SET count = count + 1 WHERE {like}"),
            &["total p", "number of users who like p"],
        ),
        (format!("DELETE FROM post_totals WHERE {like}"), &["total p", "number of users who like p"]),
        (
            format!("UPDATE post_hourly SET count = count + 2 WHERE {}", one("post_hourly", &like)),
            &["hourly sum "],
        ),
        (
            format!("UPDATE event_baseline SET count = count + 2 WHERE {}", one("event_baseline", &like)),
            &["hourly sum ", "total p"],
        ),
        (
            format!("DELETE FROM likes WHERE post_id = '{liked}' AND user_id = '{user}'"),
            &["number of users who like p"],
        ),
        (
            "UPDATE posts SET author = 'x' WHERE post_id = \
             (SELECT post_id FROM events WHERE kind = 'post' AND effect <> 0 LIMIT 1)"
                .to_owned(),
            &["author of p"],
        ),
        (journal(1, "LIMIT 1"), &["journal of partition 1: reaches 0, goes on at 50"]),
        (journal(2, "LIMIT 1 OFFSET 3"), &["journal of partition 2: reaches 150, goes on at 200"]),
        (journal(0, "DESC LIMIT 1"), &["journal of partition 0: reaches "]),
    ];
    let admin = client(&months.url).await;
    for (sql, names) in cases {
        let table = sql
            .split(' ')
            .find(|word| word.contains('_') || ["journal", "likes", "posts"].contains(word))
            .unwrap();
        admin.batch_execute(&format!("CREATE TABLE whole AS SELECT * FROM {table}")).await.unwrap();
        assert_eq!(admin.execute(&sql, &[]).await.unwrap(), 1, "{sql}");
        let found = months.history.verify().await.unwrap();
        assert_eq!(found.difference_count, names.len() as u64, "{sql}: {:?}", found.differences);
        for (difference, name) in found.differences.iter().zip(names) {
            assert!(difference.starts_with(name), "{sql}: {difference}, expected {name}");
        }
        let mend = format!(
            "BEGIN; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM whole; DROP TABLE whole; COMMIT"
        );
        admin.batch_execute(&mend).await.unwrap();
    }
    assert_eq!(months.differences().await, NONE);
}
