//! What retention keeps, rebuilding totals after it, and reporting damage.

use std::sync::Arc;

use feedkit_core::effect::{LikePolicy, remove_repeats};
use feedkit_core::history::{Retained, RetentionPolicy};
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{at, batch as small_batch, event, post};
use feedkit_core::testkit::split::{LOG, batch, model, partitions};
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, EventId, History, Inspect, Offset, Partition, Queries, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::months::{DAY, Months, four_months};
use super::traffic::{Committer, seed};
use super::{NONE, Store, Stores};

const P0: Partition = Partition(0);

pub(crate) async fn baseline_and_raw_events_give_the_totals(stores: &impl Stores) {
    let seed = seed();
    let months = Months::new(stores, seed).await;
    let before = months.totals().await;
    // The followers of the journal have applied nothing: retention gives them the entries before it
    // drops them.
    let dropped = months.retain(60, 0).await;
    assert!(dropped.events > 500 && dropped.journal_entries > 10, "seed {seed}: {dropped:?}");
    let left = months.history.verify().await.unwrap();
    assert_eq!(left.events, months.model.counts.accepted - dropped.events, "seed {seed}");
    months.store.follow().await;
    assert_eq!(months.compare().await, NONE, "seed {seed}");
    assert_eq!(months.totals().await, before, "seed {seed}");
    let again = months.retain(60, 0).await;
    assert_eq!(again, Retained::default(), "seed {seed}: nothing is dropped twice");

    // A later month on top of the baseline.
    let more = months.retain(20, 0).await;
    assert!(more.events > 300, "seed {seed}: {more:?}");
    assert_eq!(months.compare().await, NONE, "seed {seed}");

    months.store.rebuild_totals().await;
    assert_eq!(months.compare().await, NONE, "seed {seed}");
    let rebuilt = months.totals().await;
    let trending = Trending::default();
    // Only the hour of dropped likes is known: they count as up to an hour older, which is 2^(1/6).
    let now = months.clock.now();
    assert_eq!(rebuilt.len(), before.len(), "seed {seed}");
    for (old, new) in before.iter().zip(&rebuilt) {
        assert_eq!((&old.post, &old.author, &old.counts), (&new.post, &new.author, &new.counts));
        let (old, new) = (trending.at(old.score, now), trending.at(new.score, now));
        assert!((new - old).abs() <= 0.13 * old.abs() + 1e-3, "seed {seed}: {new}, before {old}");
    }

    // In the end nothing but the baseline is left.
    months.clock.advance(200 * DAY);
    months.retain(20, 0).await;
    let left = months.history.verify().await.unwrap();
    assert_eq!((left.events, left.differences), (0, vec![]), "seed {seed}");
    months.store.rebuild_totals().await;
    assert_eq!(months.compare().await, NONE, "seed {seed}");
}

pub(crate) async fn retention_and_rebuilding_between_commits_change_no_count<S: Stores>(stores: &S) {
    for _ in 0..S::SEEDS / 2 {
        let seed = seed();
        let config = four_months(seed);
        let partitions = partitions(&config);
        let model = model(&partitions, LikePolicy::Unique);
        let store = stores.empty().await;
        let history = store.history();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut committer = Committer::new(&partitions);
        let policy = RetentionPolicy::default().events(20 * DAY).journal(10 * DAY).follower_silence(DAY);
        let mut retained = 0;
        while let Some(now) = committer.oldest_left() {
            let rounds = rng.random_range(1..8);
            committer.go(&history, &mut rng, rounds).await;
            retained += history.retain(&policy, now).await.unwrap().events;
            if rng.random_bool(0.2) {
                store.rebuild_totals().await;
            }
            assert_eq!(history.verify().await.unwrap().differences, NONE, "seed {seed}");
        }
        // In the end nothing but the baseline is left.
        let done = history.retain(&policy, config.start.saturating_add(200 * DAY)).await.unwrap();
        assert_eq!(retained + done.events, model.counts.accepted, "seed {seed}");
        store.rebuild_totals().await;
        // A repeat of what was dropped may be rejected instead of recognized.
        let (got, expected) = (committer.counts, model.counts);
        assert_eq!((got.accepted, got.effects), (expected.accepted, expected.effects), "seed {seed}");
        let refused = (got.duplicates + got.rejected, expected.duplicates + expected.rejected);
        assert_eq!(refused.0, refused.1, "seed {seed}");
        let mut differences = model.compare_queries(&history).await.unwrap();
        differences.retain(|d| !d.starts_with("comments on ") && !d.starts_with("rejected records"));
        assert_eq!(differences, NONE, "seed {seed}");
    }
}

pub(crate) async fn a_post_liked_no_longer_stays_a_post(stores: &impl Stores) {
    let store = stores.empty().await;
    let history = store.history();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let events = vec![event(0, "a", "gone", "like"), event(1, "a", "gone", "unlike")];
    history.commit(Arc::new(small_batch(epoch, 0, 10, events))).await.unwrap();
    let policy = RetentionPolicy::default().events(DAY).journal(DAY).follower_silence(DAY);
    assert_eq!(history.retain(&policy, at(60 * 86_400)).await.unwrap().events, 2);
    store.rebuild_totals().await;
    assert_eq!(history.post(&post("gone")).await.unwrap().map(|p| p.likes), Some(0));
    assert_eq!(history.verify().await.unwrap().differences, NONE);
}

pub(crate) async fn likes_of_one_hour_whose_ids_are_months_apart_add_up_and_trend_from_their_hour(
    stores: &impl Stores,
) {
    let store = stores.empty().await;
    let history = store.history();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let mut events: Vec<_> =
        (0..).zip(["a", "b", "c"]).map(|(i, user)| event(i, user, "p", "like")).collect();
    for (i, logged) in (0..).zip(&mut events) {
        logged.event.id = EventId::derived(at(i * 31 * 86_400), 7);
        logged.event.time = at(1800);
    }
    history.commit(Arc::new(small_batch(epoch, 0, 10, events))).await.unwrap();
    store.follow().await;
    let score = async || history.trending(at(0), 1).await.unwrap()[0].score;
    assert!((score().await - 3.0 * 2f64.powf(0.5 / 6.0)).abs() < 1e-9);
    let policy = RetentionPolicy::default().events(DAY).journal(DAY).follower_silence(DAY);
    for (days, dropped) in [(33, 1), (65, 1), (95, 1)] {
        assert_eq!(history.retain(&policy, at(days * 86_400)).await.unwrap().events, dropped);
        assert_eq!(history.verify().await.unwrap().differences, NONE);
    }
    store.rebuild_totals().await;
    assert!((score().await - 3.0).abs() < 1e-9, "as if liked when the hour began");
    assert_eq!(history.top(Some(at(0)), 1).await.unwrap()[0].likes, 3);
}

pub(crate) async fn what_could_be_a_repeat_of_what_was_dropped_is_too_old(stores: &impl Stores) {
    let months = Months::new(stores, seed()).await;
    // Another process, which does not know that the months are gone.
    let other = months.store.another().await.history();
    let first = &months.partitions[0];
    let end = first.len() as Offset;
    // The partition's first records again.
    let again: Vec<_> =
        first[..200].iter().zip(end..).map(|(record, offset)| Record { offset, ..record.clone() }).collect();
    let epoch = other.claim(P0, "g").await.unwrap().epoch;
    let mut once = batch(P0, epoch, end, &again[..1]);
    remove_repeats(&mut once.events);
    other.commit(Arc::new(once)).await.unwrap();

    months.retain(60, 1000).await;
    let horizon: Timestamp = "2025-02-01T00:00:00Z".parse().unwrap();
    let (totals, top) = (months.totals().await, months.history.top(None, 100).await.unwrap());
    let mut repeats = batch(P0, epoch, end + 1, &again[1..]);
    remove_repeats(&mut repeats.events);
    let old = repeats.events.iter().filter(|e| e.event.id.time() < horizon).count() as u64;
    assert!(old > 100, "{old}");
    let rejected_before = months.history.rejected(None, usize::MAX).await.unwrap().len() as u64;
    let done = other.commit(Arc::new(repeats.clone())).await.unwrap();
    assert_eq!(done.counts.rejected, old + repeats.rejected.len() as u64);
    assert_eq!(done.counts.effects, 0, "{:?}", done.entry.effects);
    let rejected = months.history.rejected(None, usize::MAX).await.unwrap();
    assert_eq!(rejected.len() as u64, rejected_before + done.counts.rejected);
    let too_old: Vec<_> = rejected.iter().filter(|r| r.reason == "too_old").collect();
    assert_eq!(too_old.len() as u64, old);
    assert!(too_old.iter().all(|r| r.field.as_deref() == Some("id") && r.value.contains("userId")));
    assert_eq!(months.totals().await, totals);
    assert_eq!(months.history.top(None, 100).await.unwrap(), top);
    assert_eq!(months.differences().await, NONE);
}

pub(crate) async fn the_journal_reaches_back_for_as_long_as_the_policy_says<S: Stores>(stores: &S) {
    let months = Months::new(stores, 2).await;
    months.note("any", [Offset::MAX; 4]).await;
    months.retain(1000, 30).await;
    let from = months.clock.now().saturating_sub(30 * DAY);
    for (p, start) in months.starts().await.into_iter().enumerate() {
        assert!(start > 0);
        // The entry before the first one kept ends with the record before it.
        let records = &months.partitions[p];
        assert!(records[start as usize - 1].time < from, "partition {p} from {start}");
        if !S::JOURNAL_GOES_BY_DAYS {
            let kept = (start as usize + 50).min(records.len());
            assert!(records[kept - 1].time >= from, "partition {p} from {start}");
        }
    }
    assert_eq!(months.differences().await, NONE);
}

pub(crate) async fn retention_under_commits_changes_no_count(stores: &impl Stores) {
    let seed = seed();
    let months = Months::new(stores, seed).await;
    let later = months.clock.now().saturating_add(DAY);
    let history = months.history.clone();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let from = months.ends()[0];
    let writing = tokio::spawn(async move {
        for i in 0..60 {
            let at = from + i;
            let mut one = small_batch(epoch, at, at + 1, vec![event(at, &format!("w{i}"), "new", "like")]);
            one.log = LOG;
            one.now = later;
            one.events[0].event.id = EventId::derived(later, u128::from(i) << 64);
            one.events[0].event.time = later;
            history.commit(Arc::new(one)).await.unwrap();
        }
    });
    for days in [60, 10] {
        months.retain(days, 0).await;
        assert_eq!(months.differences().await, NONE, "seed {seed}");
    }
    writing.await.unwrap();
    months.store.follow().await;
    assert_eq!(months.differences().await, NONE, "seed {seed}");
    assert_eq!(months.history.top(None, 1).await.unwrap()[0].likes, 60, "seed {seed}");
}

pub(crate) async fn damage_is_named<S: Stores>(stores: &S) {
    let months = Months::new(stores, 4).await;
    months.retain(60, 1000).await;
    months.store.follow().await;
    months.note("any", [Offset::MAX, 0, 0, 0]).await;
    months.retain(60, 0).await;
    assert_eq!(months.differences().await, NONE);
    let [post, user] = S::COLUMNS;
    let liked = months.model.top()[0].0.to_string();
    let like = format!("{post} = '{liked}' AND kind = 'like'");
    let liker = months.model.likes[&months.model.top()[0].0].first().unwrap().to_string();
    let one = |table: &str, what: &str| {
        format!(
            "(hour, {post}, kind) = \
             (SELECT hour, {post}, kind FROM {table} WHERE {what} AND count <> 0 LIMIT 1)"
        )
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
            format!("DELETE FROM likes WHERE {post} = '{liked}' AND {user} = '{liker}'"),
            &["number of users who like p"],
        ),
        (
            format!(
                "UPDATE posts SET author = 'x' WHERE {post} = \
                 (SELECT {post} FROM events WHERE kind = 'post' AND effect <> 0 LIMIT 1)"
            ),
            &["author of p"],
        ),
        (journal(1, "LIMIT 1"), &["journal of partition 1: reaches 0, goes on at 50"]),
        (journal(2, "LIMIT 1 OFFSET 3"), &["journal of partition 2: reaches 150, goes on at 200"]),
        (journal(0, "DESC LIMIT 1"), &["journal of partition 0: reaches "]),
    ];
    for (sql, names) in cases {
        let found = stores.verify_damaged(&months.place, &months.store, &sql).await;
        assert_eq!(found.difference_count, names.len() as u64, "{sql}: {:?}", found.differences);
        for (difference, name) in found.differences.iter().zip(names) {
            assert!(difference.starts_with(name), "{sql}: {difference}, expected {name}");
        }
    }
    assert_eq!(months.differences().await, NONE);
}
