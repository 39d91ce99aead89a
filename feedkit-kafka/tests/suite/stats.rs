//! Statistics of sinks and sources.

use feedkit_core::{EventSink, EventSource, Partition};
use feedkit_kafka::SinkOptions;
use feedkit_test_services::{apply, needs_kafka};

use super::support::*;

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn lag_and_throughput_are_told() {
    let broker = broker();
    let kafka = topic(&broker, 1).await;
    let sink = kafka.sink(SinkOptions::default()).unwrap();
    let mut reader = Reader::new(kafka.member(&kafka.topic, small(cooperative())).unwrap());
    let handle = reader.source.handle();
    fill(&sink, 5, 0..100).await;
    reader.until("all", |r| r.count() == 100).await;
    let stats = sink.stats();
    assert_eq!((stats.acknowledged, stats.sends_under_way), (100, 0));
    let stats = handle.stats();
    assert_eq!((stats.records, stats.partitions[&Partition(0)].next), (100, 100));
    assert!(stats.batches > 0 && stats.bytes > 100 && stats.rebalances > 0 && stats.connected);

    // Records that the reader does not take count as lag, and stay in the broker.
    reader.source.pause(Partition(0));
    fill(&sink, 5, 100..2_000).await;
    eventually("records held back", async || handle.stats().held_back > 0).await;
    // The source fetches nothing now, so no fetch shows these records.
    fill(&sink, 5, 2_000..5_000).await;
    let lags = async || handle.stats().partitions[&Partition(0)].lag == Some(4_900);
    eventually("a lag of 4,900", lags).await;
    let stats = handle.stats();
    assert!(stats.partitions[&Partition(0)].buffered <= 15, "{stats:?}");
    reader.source.resume(Partition(0));
    reader.until("all", |r| r.count() == 5_000).await;
    assert_eq!(handle.stats().partitions[&Partition(0)].lag, Some(0));
    assert_eq!(reader.values(), numbers(0..5_000));
    assert_eq!(reader.source.ends().await.unwrap().of(Partition(0)), 5_000);
    sink.flush().await.unwrap();
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn positions_are_found_by_time() {
    let broker = broker();
    let kafka = topic(&broker, 1).await;
    let sink = sink(&kafka).await;
    fill(&sink, 1, 0..10).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    fill(&sink, 1, 10..20).await;
    let mut reader = Reader::new(kafka.broadcast(small(cooperative())).unwrap());
    reader.until("all", |r| r.count() == 20).await;
    let records = &reader.records[&Partition(0)];
    for record in records {
        let first = records.iter().find(|r| r.time >= record.time).unwrap();
        assert_eq!(kafka.positions_at(record.time).await.unwrap().of(Partition(0)), first.offset);
    }
    let later = records.iter().map(|r| r.time.as_millis()).max().unwrap() + 1;
    let later = feedkit_core::Timestamp::from_millis(later);
    assert_eq!(kafka.positions_at(later).await.unwrap().of(Partition(0)), 20);
}
