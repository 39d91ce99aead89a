//! The broker is killed while records are sent and read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use feedkit_core::{ErrorKind, EventSink, Partition};
use feedkit_kafka::{Kafka, SinkOptions};
use feedkit_test_services::{Broker, apply, needs_broker};

use super::support::*;

#[apply(needs_broker!)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_broker_is_killed() {
    let mut broker = Broker::start().await;
    let kafka = topic(&broker.client, 4).await;
    let mut options = SinkOptions::default();
    options.delivery_timeout = Duration::from_secs(60);
    let sink = kafka.sink(options).unwrap();
    let mut reader = Reader::new(kafka.member("restart", small(cooperative())).unwrap());
    reader.until("partitions", |r| r.at.len() == 4).await;
    let stop = AtomicBool::new(false);
    let sending = async {
        let mut acknowledged = BTreeMap::new();
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let values = next..next + 50;
            next = values.end;
            let batch = values.clone().map(|i| record(&format!("k{}", i % 20), i.to_string())).collect();
            for (value, outcome) in values.zip(sink.send(batch).await) {
                match outcome {
                    Ok(position) => drop(acknowledged.insert(value, position)),
                    Err(error) => {
                        let kind = error.kind();
                        assert!(kind.may_pass(), "{error:?}");
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        acknowledged
    };
    let killing = async {
        for round in 1..=3 {
            // Each restart happens during traffic.
            eventually("50 more are acknowledged", async || sink.stats().acknowledged >= 50 * round).await;
            broker.restart().await;
        }
        eventually("50 more are acknowledged", async || sink.stats().acknowledged >= 200).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (acknowledged, ()) = tokio::join!(sending, killing);
    sink.flush().await.unwrap();
    assert!(acknowledged.len() >= 200, "only {} records are acknowledged", acknowledged.len());
    let ends = kafka.ends().await.unwrap();
    reader
        .until("everything", |r| ends.iter().all(|(p, end)| r.seen.get(&p).copied().unwrap_or(0) >= end))
        .await;
    assert_eq!(reader.gaps, []);
    let mut found: BTreeMap<usize, Vec<(Partition, u64)>> = BTreeMap::new();
    for (partition, record) in
        reader.records.iter().flat_map(|(p, records)| records.iter().map(move |r| (p, r)))
    {
        let value = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
        found.entry(value).or_default().push((*partition, record.offset + 1));
    }
    for (value, position) in &acknowledged {
        // The record is there once, at the position that the sink returned.
        assert_eq!(found.get(value), Some(&vec![(position.partition, position.offset)]), "{value}");
    }
    assert!(found.values().all(|places| places.len() == 1), "a record is there twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_not_waited_for_longer_than_told() {
    // No broker listens on this port.
    let kafka = Kafka::new("127.0.0.1:1", "t");
    let mut options = SinkOptions::default();
    options.delivery_timeout = Duration::from_millis(300);
    let sink = kafka.sink(options).unwrap();
    for outcome in sink.send(vec![record("a", "1"), record("a", "2")]).await {
        let kind = outcome.unwrap_err().kind();
        assert!(kind.may_pass(), "{kind:?}");
    }
    sink.flush().await.unwrap();
    assert_eq!(sink.stats().sends_under_way, 0);
    assert!(kafka.ends().await.unwrap_err().is_retriable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_senders_wait_and_then_says_so() {
    let kafka = Kafka::new("127.0.0.1:1", "t");
    let mut options = SinkOptions::default();
    options.delivery_timeout = Duration::from_millis(300);
    options.queue_bytes = 16 << 10;
    let sink = kafka.sink(options).unwrap();
    let batch = (0..100).map(|_| record("a", vec![b'x'; 1000])).collect();
    let outcomes = sink.send(batch).await;
    assert_eq!(outcomes.len(), 100);
    assert!(outcomes.iter().all(|o| o.is_err()));
    // The last records found no room, so they were certainly not taken.
    assert_eq!(outcomes[99].as_ref().unwrap_err().kind(), ErrorKind::Retriable);
}
