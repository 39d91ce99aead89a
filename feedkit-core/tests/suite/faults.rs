//! Injected faults: what fails, and how.

use std::sync::Arc;

use feedkit_core::follower::FollowerPosition;
use feedkit_core::history::JournalRead;
use feedkit_core::memory::{MemoryCounters, MemoryHistory, MemoryLog};
use feedkit_core::sink::NewRecord;
use feedkit_core::testkit::Tally;
use feedkit_core::testkit::conformance::support::{batch, event};
use feedkit_core::testkit::faults::{Fault, Faults, Faulty, Odds};
use feedkit_core::{CounterStore, ErrorKind, EventSink, Follower, History, Partition, SystemClock};

const P0: Partition = Partition(0);

fn kinds<T>(outcomes: Vec<feedkit_core::Result<T>>) -> Vec<Option<ErrorKind>> {
    outcomes.into_iter().map(|o| o.err().map(|e| e.kind())).collect()
}

#[tokio::test]
async fn a_script_is_followed_record_by_record() {
    let log = MemoryLog::new(1, SystemClock);
    let faults =
        Faults::scripted([Fault::None, Fault::UncertainDone, Fault::Retriable, Fault::UncertainNotDone]);
    let sink = Faulty::new(log.clone(), faults.clone());
    let records = (0..5).map(|i| NewRecord::keyed("k", format!("{i}").into())).collect();
    let outcomes = kinds(sink.send(records).await);
    let (retriable, uncertain) = (Some(ErrorKind::Retriable), Some(ErrorKind::Uncertain));
    assert_eq!(outcomes, [None, uncertain, retriable, uncertain, None]);
    let held: Vec<_> = log.records(P0).iter().map(|r| r.value.clone()).collect();
    assert_eq!(held, ["0", "1", "4"]);
    assert_eq!(faults.injected(), 3);
}

#[tokio::test]
async fn an_uncertain_commit_may_have_been_made() {
    for (fault, position) in [(Fault::UncertainDone, 10), (Fault::UncertainNotDone, 0)] {
        let history = Faulty::new(MemoryHistory::new(), Faults::scripted([Fault::None, fault]));
        let epoch = history.claim(P0, "g").await.unwrap().epoch;
        let one = batch(epoch, 0, 10, vec![event(0, "a", "p", "like")]);
        assert_eq!(history.commit(Arc::new(one)).await.unwrap_err().kind(), ErrorKind::Uncertain);
        assert_eq!(history.claimed(P0).await.unwrap().position, position);
    }
    let history = Faulty::new(MemoryHistory::new(), Faults::scripted([Fault::UncertainDone]));
    let refused = history.commit(Arc::new(batch(1, 0, 10, vec![]))).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Fenced, "a refusal is certain");
}

#[tokio::test]
async fn odds_are_kept_and_a_seed_repeats_them() {
    let drawn = async |seed| {
        let faults =
            Faults::seeded(seed, Odds { retriable: 0.1, uncertain_done: 0.2, uncertain_not_done: 0.0 });
        let counters = Faulty::new(MemoryCounters::default(), faults.clone());
        let mut kinds = Vec::new();
        for _ in 0..1000 {
            kinds.push(counters.begin_rebuild().await.err().map(|e| e.kind()));
        }
        faults.stop();
        assert!(counters.begin_rebuild().await.is_ok(), "seed {seed}");
        kinds
    };
    let first = drawn(7).await;
    assert_eq!(drawn(7).await, first);
    assert_ne!(drawn(8).await, first);
    let count = |kind| first.iter().filter(|k| **k == Some(kind)).count();
    assert!((60..150).contains(&count(ErrorKind::Retriable)), "{}", count(ErrorKind::Retriable));
    assert!((150..260).contains(&count(ErrorKind::Uncertain)), "{}", count(ErrorKind::Uncertain));
}

#[tokio::test]
async fn a_follower_that_is_tried_again_counts_once() {
    let history = MemoryHistory::new();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    for i in 0..200 {
        let one = batch(epoch, i, i + 1, vec![event(i, "a", "p", "comment")]);
        history.commit(Arc::new(one)).await.unwrap();
    }
    let tally = Faulty::new(Tally::new(), Faults::seeded(3, Odds::each(0.2)));
    loop {
        let at = match tally.position(P0).await {
            Ok(FollowerPosition::At(200)) => break,
            Ok(FollowerPosition::At(at)) => at,
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                continue;
            }
        };
        let JournalRead::Entries(entries) = history.journal(P0, at, 3).await.unwrap() else { panic!() };
        if let Err(error) = tally.apply(P0, &entries).await {
            assert!(error.is_retriable(), "{error}");
        }
    }
    assert_eq!(tally.inner().counts().into_values().collect::<Vec<_>>(), [200]);
}
