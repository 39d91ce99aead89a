//! The alert log in a directory.

use std::time::Duration;

use feedkit_core::alert_log::{AlertSnapshot, AlertStep, Consumed, ExactState, WholeStates};
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::{AlertLog, Alerts, ErrorKind, Outbox, Partition, Positions, Timestamp};

use super::support::*;

const TTL: Duration = Duration::from_secs(10);

fn alert(id: &str) -> Notification {
    Notification {
        id: id.to_owned(),
        kind: "MILESTONE".to_owned(),
        severity: Severity::Info,
        audience: Audience::All,
        title: "a title".to_owned(),
        data: serde_json::Map::from_iter([("likes".to_owned(), 10.into())]),
        occurred_at: Timestamp::from_millis(5),
    }
}

fn step(number: u64, alerts: &[&str]) -> AlertStep {
    let consumed = vec![Consumed { partition: Partition(1), from: number * 10, to: number * 10 + 10 }];
    let alerts = alerts.iter().map(|id| alert(id)).collect();
    AlertStep { number, watermark: Timestamp::from_millis(number as i64), consumed, alerts }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let log = store.alert_log();
    let lease = log.acquire("a", Timestamp::EPOCH, TTL).await.unwrap().unwrap();
    for (number, alerts) in [(1, &["x"][..]), (2, &["y", "x"]), (3, &[]), (4, &["z"])] {
        log.step(&lease, &step(number, alerts)).await.unwrap();
    }
    let positions = Positions::from_iter([(Partition(1), 30)]);
    let states = vec![("b".to_owned(), vec![7; 3 << 20]), ("a".to_owned(), vec![])];
    let snapshot = AlertSnapshot { step: 2, positions: positions.clone(), states: states.clone() };
    let exact = vec![ExactState { rule: "m".to_owned(), key: "p".to_owned(), state: vec![1, 2] }];
    log.save_snapshot(&lease, 2, &positions, &WholeStates { states, exact }).await.unwrap();
    let published = Positions::from_iter([(Partition(0), 1)]);
    log.mark_published(&lease, 1, &published).await.unwrap();
    store.close().await;
    drop((log, store));

    let store = open(dir.path()).await;
    let log = store.alert_log();
    let recovered = log.recover(&lease).await.unwrap();
    assert_eq!(recovered.snapshot, Some(snapshot));
    let steps: Vec<_> = recovered.steps.iter().map(|s| (s.number, s.watermark, s.consumed.clone())).collect();
    let expected: Vec<_> =
        [3, 4].map(|n| step(n, &[])).into_iter().map(|s| (s.number, s.watermark, s.consumed)).collect();
    assert_eq!(steps, expected);
    let outbox: Vec<_> = log.outbox(10).await.unwrap().into_iter().map(|row| row.notification).collect();
    assert_eq!(outbox, [alert("y"), alert("z")]);
    assert_eq!(log.published().await.unwrap(), published);
    assert_eq!(log.exact_states("m", &["q", "p"]).await.unwrap(), [None, Some(vec![1, 2])]);
    let newest: Vec<_> = log.alerts(None, 2).await.unwrap();
    assert_eq!(newest.iter().map(|(_, n)| n.id.as_str()).collect::<Vec<_>>(), ["z", "y"]);
    assert_eq!(log.alerts(Some(newest[1].0), 9).await.unwrap()[0].1.id, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_lease_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let log = store.alert_log();
    let old = log.acquire("a", Timestamp::EPOCH, TTL).await.unwrap().unwrap();
    assert_eq!(log.acquire("b", Timestamp::from_millis(9_999), TTL).await.unwrap(), None);
    let new = log.acquire("b", Timestamp::from_millis(10_000), TTL).await.unwrap().unwrap();
    assert_eq!(new.epoch, old.epoch + 1);
    let fenced = [
        log.step(&old, &step(1, &["x"])).await,
        log.save_snapshot(&old, 0, &Positions::new(), &WholeStates::default()).await,
        log.mark_published(&old, 1, &Positions::new()).await,
        log.renew(&old, Timestamp::EPOCH, TTL).await.map(drop),
        log.release(&old).await,
        log.recover(&old).await.map(drop),
    ];
    for result in fenced {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Fenced);
    }
    let recovered = log.recover(&new).await.unwrap();
    assert_eq!((recovered.snapshot, recovered.steps.len()), (None, 0));
    assert!(log.alerts(None, 9).await.unwrap().is_empty());
    log.release(&new).await.unwrap();
    let again = log.acquire("b", Timestamp::EPOCH, TTL).await.unwrap().unwrap();
    assert_eq!(again.epoch, new.epoch + 1);
    assert_eq!(log.step(&new, &step(1, &[])).await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_and_snapshots_follow_on_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let log = store.alert_log();
    let lease = log.acquire("a", Timestamp::EPOCH, TTL).await.unwrap().unwrap();
    let (nowhere, nothing) = (Positions::new(), WholeStates::default());
    assert_eq!(log.step(&lease, &step(2, &["x"])).await.unwrap_err().kind(), ErrorKind::Gap);
    assert_eq!(log.save_snapshot(&lease, 1, &nowhere, &nothing).await.unwrap_err().kind(), ErrorKind::Gap);
    log.step(&lease, &step(1, &[])).await.unwrap();
    assert_eq!(log.step(&lease, &step(1, &["x"])).await.unwrap_err().kind(), ErrorKind::Gap);
    log.step(&lease, &step(2, &[])).await.unwrap();
    log.save_snapshot(&lease, 2, &nowhere, &nothing).await.unwrap();
    assert_eq!(log.save_snapshot(&lease, 1, &nowhere, &nothing).await.unwrap_err().kind(), ErrorKind::Gap);
    assert_eq!(log.step(&lease, &step(4, &["x"])).await.unwrap_err().kind(), ErrorKind::Gap);
    log.step(&lease, &step(3, &[])).await.unwrap();
    assert!(log.alerts(None, 9).await.unwrap().is_empty());
}
