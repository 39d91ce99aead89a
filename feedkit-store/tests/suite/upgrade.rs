//! A store that an older version wrote opens, holds what it held, and goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedkit_core::alert_log::AlertStep;
use feedkit_core::codec::{Codec, JsonCodec, Place};
use feedkit_core::effect::LoggedEvent;
use feedkit_core::history::{Claim, CommitBatch, CommitCounts, Rejected};
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::source::Record;
use feedkit_core::{AlertLog, History, Inspect, Partition, PostId, Queries, Timestamp};

/// Where the stores of version 0.1.0 lie; its README says how they were made.
pub(crate) fn stores() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stores/0.1.0-61e8746")
}

/// The time from which the store goes on: after all that it holds.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_735_689_600_000 + 90 * 86_400_000)
}

/// What the program that wrote a store said it held.
pub(crate) struct Expected {
    pub(crate) positions: [u64; 4],
    pub(crate) incarnation: u128,
    /// Raw events, and posts.
    pub(crate) verified: (u64, u64),
    pub(crate) rejected: usize,
    /// The posts with the most likes.
    pub(crate) top: &'static [(&'static str, i64)],
    /// Comments, and likes, of the first post.
    pub(crate) first_post: (usize, i64),
}

pub(crate) const NONE: [String; 0] = [];

/// The history holds what it held.
pub(crate) async fn history_is_whole(history: &(impl History + Queries + Inspect), expected: &Expected) {
    let positions = history.positions().await.unwrap();
    assert_eq!(positions.iter().map(|(_, position)| position).collect::<Vec<_>>(), expected.positions);
    assert_eq!(history.incarnation().await.unwrap(), expected.incarnation);
    let verified = history.verify().await.unwrap();
    assert_eq!((verified.events, verified.posts), expected.verified);
    assert_eq!(verified.differences, NONE);
    assert_eq!(history.rejected(None, 100).await.unwrap().len(), expected.rejected);
    let top = history.top(None, expected.top.len()).await.unwrap();
    let top: Vec<_> = top.iter().map(|ranked| (ranked.post_id.as_str(), ranked.likes)).collect();
    assert_eq!(top, expected.top);
    let first: PostId = "p0".parse().unwrap();
    let comments = history.comments(&first, None, 100).await.unwrap().len();
    let likes = history.post(&first).await.unwrap().unwrap().likes;
    assert_eq!((comments, likes), expected.first_post);
}

/// The batch of `records`, which follows on `claim`.
pub(crate) fn batch(partition: Partition, claim: &Claim, records: &[Record]) -> CommitBatch {
    let log = claim.log.expect("something was committed");
    let place = Place { log, partition };
    let (mut events, mut rejected) = (Vec::new(), Vec::new());
    for record in records {
        match JsonCodec::default().decode(&place, record) {
            Ok(event) => events.push(LoggedEvent { offset: record.offset, event }),
            Err(fault) => rejected.push(Rejected::new(record, fault)),
        }
    }
    let last = records.last().map(Record::mark);
    let (from, to) = (claim.position, claim.position + records.len() as u64);
    let (epoch, now) = (claim.epoch, now());
    CommitBatch { partition, epoch, log, from, to, at_end: false, events, rejected, last, now }
}

/// A new like counts, an event that the old version kept is a repeat, one from a month that it
/// dropped is too old, and an invalid event is rejected.
pub(crate) async fn history_goes_on(history: &(impl History + Queries + Inspect)) {
    let partition = Partition(2);
    let before = history.verify().await.unwrap();
    let first: PostId = "p0".parse().unwrap();
    let comment = history.comments(&first, None, 1).await.unwrap().pop().unwrap();
    let claim = history.claim(partition, "processor").await.unwrap();
    let lines = [
        format!(r#"{{"type":"like","postId":"p0","userId":"new","timestamp":"{}"}}"#, now()),
        format!(
            r#"{{"id":"{}","type":"comment","postId":"p0","userId":"{}","text":"again","timestamp":"{}"}}"#,
            comment.id, comment.user_id, comment.timestamp
        ),
        r#"{"type":"like","postId":"p0","userId":"late","timestamp":"2025-01-02T00:00:00Z"}"#.to_owned(),
        "not an event".to_owned(),
    ];
    let times = [now(), now(), Timestamp::from_millis(1_735_776_000_000), now()];
    let records: Vec<Record> = (claim.position..)
        .zip(lines)
        .zip(times)
        .map(|((offset, line), time)| Record { offset, time, key: None, value: Bytes::from(line) })
        .collect();
    let committed = history.commit(Arc::new(batch(partition, &claim, &records))).await.unwrap();
    let counts = CommitCounts { accepted: 1, duplicates: 1, rejected: 2, effects: 1 };
    assert_eq!(committed.counts, counts);
    let after = history.verify().await.unwrap();
    assert_eq!((after.events, after.differences), (before.events + 1, Vec::new()));
    let liked = history.liked(&"new".parse().unwrap(), std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(liked, [first]);
}

/// The alerts are those that were raised; the outbox holds what was not published, and a new owner
/// goes on.
pub(crate) async fn alerts_go_on(log: &impl AlertLog) {
    let ids = |alerts: Vec<(u64, Notification)>| alerts.into_iter().map(|(_, a)| a.id).collect::<Vec<_>>();
    let id = |n: u64| format!("milestone:p{n}:10");
    assert_eq!(ids(log.alerts(None, 10).await.unwrap()), [4, 3, 2, 1].map(id));
    let outbox = log.outbox(10).await.unwrap();
    assert_eq!(outbox.iter().map(|row| row.notification.id.clone()).collect::<Vec<_>>(), [3, 4].map(id));
    assert_eq!(log.published().await.unwrap().of(Partition(0)), 2);
    assert_eq!(log.exact_states("milestone", &["p1"]).await.unwrap(), [Some(vec![10])]);

    let ttl = Duration::from_secs(10);
    let lease = log.acquire("another", now(), ttl).await.unwrap().expect("the old lease has run out");
    assert_eq!(lease.epoch, 2);
    let recovered = log.recover(&lease).await.unwrap();
    let snapshot = recovered.snapshot.unwrap();
    assert_eq!((snapshot.step, snapshot.positions.of(Partition(0))), (2, 20));
    let states = [("spike".to_owned(), vec![1, 2, 3]), ("user_rate".to_owned(), vec![])];
    assert_eq!(snapshot.states, states);
    assert_eq!(recovered.steps.iter().map(|step| step.number).collect::<Vec<_>>(), [3, 4]);
    let alert = |n: u64| Notification {
        id: id(n),
        kind: "MILESTONE".to_owned(),
        severity: Severity::Info,
        audience: Audience::All,
        title: String::new(),
        data: serde_json::Map::new(),
        occurred_at: now(),
    };
    let step =
        AlertStep { number: 5, watermark: now(), consumed: Vec::new(), alerts: vec![alert(4), alert(5)] };
    log.step(&lease, &step).await.unwrap();
    let outbox = log.outbox(10).await.unwrap();
    assert_eq!(outbox.iter().map(|row| row.notification.id.clone()).collect::<Vec<_>>(), [3, 4, 5].map(id));
}
