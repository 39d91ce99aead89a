//! The log in a directory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::{Gap, GapReason, Resume, SourceEvent};
use feedkit_core::{Clock, Error, ErrorKind, EventSink, EventSource, Partition, Positions, Timestamp};
use feedkit_store::sqlite::{
    MAX_RECORD_BYTES, NOTIFICATIONS, SourceOptions, Sqlite, SqliteOptions, SqliteSource, USER_ACTIONS,
};
use std::sync::atomic::{AtomicI64, Ordering};

use super::support::*;

/// A clock that a test sets.
#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn small(max_records: usize) -> SourceOptions {
    let mut options = SourceOptions::default();
    options.max_records = max_records;
    options
}

async fn gap(source: &mut SqliteSource) -> Gap {
    match source.next().await.unwrap() {
        SourceEvent::Gap(gap) => gap,
        other => panic!("expected a gap, got {other:?}"),
    }
}

/// On one thread, all sends are queued while the first commit runs.
#[tokio::test]
async fn sends_at_once_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let before = store.log_commits().unwrap();
    let sink = Arc::new(store.log().sink(USER_ACTIONS).unwrap());
    let sends: Vec<_> = (0..500)
        .map(|n| {
            let sink = Arc::clone(&sink);
            tokio::spawn(
                async move { sink.send(vec![record(&format!("u{n}"), format!("{n}"))]).await.remove(0) },
            )
        })
        .collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    let after = store.log_commits().unwrap();
    let (jobs, groups) = (after.jobs - before.jobs, after.groups - before.groups);
    assert_eq!(jobs, 500);
    assert!(groups < jobs, "{groups} commits for {jobs} sends");
    assert_eq!(read_from(&store, &Positions::new()).await.len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_keeps_no_other_from_being_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let sink = store.log().sink(USER_ACTIONS).unwrap();
    let batch = vec![record("u", "a"), record("u", vec![0; MAX_RECORD_BYTES + 1]), record("u", "b")];
    let mut sent = sink.send(batch).await;
    assert_eq!(sent.remove(1).unwrap_err().kind(), ErrorKind::Invalid);
    let offsets: Vec<_> = sent.into_iter().map(|p| p.unwrap().offset).collect();
    assert_eq!(offsets, [1, 2]);
    let kept = send(&store, vec![record("u", vec![7; MAX_RECORD_BYTES - 1])]).await;
    assert_eq!(kept[0].1, 3);
    assert_eq!(read_from(&store, &Positions::new()).await[2].1.value.len(), MAX_RECORD_BYTES - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_key_go_round() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let batch = (0..8).map(|n| NewRecord { key: None, value: Bytes::from(vec![n]) }).collect();
    let mut partitions: Vec<_> = send(&store, batch).await.into_iter().map(|(p, _)| p.0).collect();
    partitions.sort();
    assert_eq!(partitions, [0, 0, 1, 1, 2, 2, 3, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_apart_and_an_unknown_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    send(&store, vec![record("u", "x")]).await;
    assert_eq!(store.log().ends(NOTIFICATIONS).await.unwrap().total(), 0);
    let error = store.log().sink("actions").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        r#"there is no topic "actions"; the topics are notifications, user-actions"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_not_given_out_again_after_retention() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut last = (Partition(0), 0);
    for n in 0..100 {
        last = send(&store, vec![record("u", format!("{n}"))]).await[0];
    }
    let (partition, end) = last;
    assert_eq!(end, 100);
    let before = Positions::from_iter([(partition, 60)]);
    assert_eq!(store.log().retain(USER_ACTIONS, &before).await.unwrap(), 60);
    assert_eq!(store.log().retain(USER_ACTIONS, &before).await.unwrap(), 0);
    assert_eq!(read_from(&store, &before).await.len(), 40);

    let mut source = broadcast(&store, SourceOptions::default()).await;
    resume_all(&mut source, &Positions::new()).await;
    let expected = Gap { partition, wanted: 0, start: 60, end: 100, reason: GapReason::Expired };
    assert_eq!(gap(&mut source).await, expected);
    drop(source);

    let all = Positions::from_iter([(partition, 100)]);
    assert_eq!(store.log().retain(USER_ACTIONS, &all).await.unwrap(), 40);
    store.close().await;
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(send(&store, vec![record("u", "next")]).await, [(partition, 101)]);
    let left = read_from(&store, &all).await;
    assert_eq!((left.len(), left[0].1.offset), (1, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_overtaken_by_retention_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..10 {
        send(&store, vec![record("u", format!("{n}"))]).await;
    }
    let mut source = broadcast(&store, small(1)).await;
    resume_all(&mut source, &Positions::new()).await;
    let partition = next_batch(&mut source).await.partition;
    // One batch may have been read ahead.
    store.log().retain(USER_ACTIONS, &Positions::from_iter([(partition, 9)])).await.unwrap();
    let found = loop {
        match source.next().await.unwrap() {
            SourceEvent::Batch(batch) => assert!(batch.to < 9, "{batch:?}"),
            SourceEvent::Gap(gap) => break gap,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((found.start, found.end, found.reason), (9, 10, GapReason::Expired));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_the_one_read_before_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..3 {
        send(&store, vec![record("u", format!("{n}"))]).await;
    }
    let records = read_from(&store, &Positions::new()).await;
    let (partition, last) = (records[2].0, records[2].1.mark());
    let log = Some(store.log().incarnation());
    let resume = Resume { offset: 3, log, last: Some(last) };
    let mut other = last;
    other.hash ^= 1;
    let cases = [
        (resume, None),
        (Resume { last: Some(other), ..resume }, Some(GapReason::Recreated)),
        (Resume { log: log.map(|l| l + 1), ..resume }, Some(GapReason::Recreated)),
        (Resume { offset: 5, ..resume }, Some(GapReason::Truncated)),
    ];
    for (resume, expected) in cases {
        let mut source = broadcast(&store, SourceOptions::default()).await;
        for _ in 0..4 {
            match source.next().await.unwrap() {
                SourceEvent::Assigned(a) if a.partition == partition => a.resume(resume),
                SourceEvent::Assigned(a) => a.resume(Resume::default()),
                other => panic!("{other:?}"),
            }
        }
        let found = match expected {
            Some(_) => Some(gap(&mut source).await.reason),
            None => {
                send(&store, vec![record("u", "more")]).await;
                assert_eq!(next_batch(&mut source).await.from, 3);
                None
            }
        };
        assert_eq!(found, expected, "{resume:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_read_in_turn_and_a_paused_one_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let batch = (0..40).map(|n| NewRecord { key: None, value: Bytes::from(vec![n]) }).collect();
    send(&store, batch).await;
    let mut source = broadcast(&store, small(2)).await;
    resume_all(&mut source, &Positions::new()).await;
    let mut seen = [0; 4];
    for _ in 0..12 {
        seen[next_batch(&mut source).await.partition.0 as usize] += 1;
    }
    assert!(seen.iter().all(|n| (2..=4).contains(n)), "{seen:?}");

    let paused = Partition(1);
    source.pause(paused);
    for _ in 0..20 - 12 - (5 - seen[1]) {
        assert_ne!(next_batch(&mut source).await.partition, paused);
    }
    let nothing = tokio::time::timeout(Duration::from_millis(50), source.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    source.resume(paused);
    let mut last = None;
    for _ in 0..5 - seen[1] {
        let batch = next_batch(&mut source).await;
        assert_eq!(batch.partition, paused);
        last = Some((batch.to, batch.at_end));
    }
    assert_eq!(last, Some((10, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_woken_by_an_append_and_ended_by_closing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut source = broadcast(&store, SourceOptions::default()).await;
    resume_all(&mut source, &Positions::new()).await;
    for n in 0..20 {
        let (batch, _) = tokio::join!(next_batch(&mut source), send(&store, vec![record("u", vec![n])]));
        assert_eq!((batch.records.len(), batch.records[0].value[0], batch.at_end), (1, n, true));
    }
    let (ended, ()) = tokio::join!(source.next(), store.close());
    let error: Error = ended.map(|event| panic!("{event:?}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_at_a_time_are_found_though_the_clock_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand::default());
    let mut options = SqliteOptions::default();
    options.partitions = 1;
    let store = Sqlite::open(dir.path(), options, Arc::<Hand>::clone(&clock)).await.unwrap();
    let times = [100, 200, 150, 150, 300, 250, 400, 400, 390, 500];
    for time in times {
        clock.0.store(time, Ordering::SeqCst);
        send(&store, vec![record("u", "x"), record("v", "y")]).await;
    }
    for time in 0..510 {
        let expected = times.iter().position(|t| *t >= time).map_or(20, |n| 2 * n as u64);
        let found = store.log().positions_at(USER_ACTIONS, Timestamp::from_millis(time)).await.unwrap();
        assert_eq!(found.of(Partition(0)), expected, "at {time}");
    }
    let since = Timestamp::from_millis(300);
    let read = Positions::from_iter([(Partition(0), 6)]);
    assert_eq!(store.log().retain_since(USER_ACTIONS, since, &read).await.unwrap(), 6);
    let read = Positions::from_iter([(Partition(0), 20)]);
    assert_eq!(store.log().retain_since(USER_ACTIONS, since, &read).await.unwrap(), 2);
    let found = store.log().positions_at(USER_ACTIONS, Timestamp::EPOCH).await.unwrap();
    assert_eq!(found.of(Partition(0)), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_next_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let batch = (0..2000).map(|n: u32| record(&format!("u{}", n % 7), n.to_string())).collect();
    send(&store, batch).await;
    let mut source = broadcast(&store, small(50)).await;
    resume_all(&mut source, &Positions::new()).await;
    let mut at = Positions::new();
    while at.total() < 2000 {
        // The future is dropped at its first wait each time.
        let event = tokio::select! {
            biased;
            event = source.next() => event.unwrap(),
            () = tokio::task::yield_now() => continue,
        };
        let SourceEvent::Batch(batch) = event else { panic!("{event:?}") };
        assert_eq!(batch.from, at.of(batch.partition));
        at.set(batch.partition, batch.to);
    }
}
