//! The log loses records before they are read.

use std::time::Duration;

use feedkit_core::source::{GapReason, Resume, SourceEvent};
use feedkit_core::{EventSink, EventSource, Partition};
use feedkit_kafka::GroupProtocol;
use feedkit_kafka::admin::{NewTopic, create_topics};
use feedkit_test_services::{apply, needs_kafka};

use super::support::*;

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_while_nobody_reads_is_a_gap_with_both_offsets() {
    let broker = broker();
    let kafka = topic(&broker, 1).await;
    let sink = sink(&kafka).await;
    fill(&sink, 1, 0..100).await;
    let mut reader = Reader::new(kafka.member(&kafka.topic, small(cooperative())).unwrap());
    reader.until("all", |r| r.count() == 100).await;
    fill(&sink, 1, 100..200).await;
    let Reader { seen, records, incarnations, source, .. } = reader;
    drop(source);
    // The reader may have read some of the second hundred as well.
    let at = seen[&Partition(0)];
    fill(&sink, 1, 200..300).await;
    delete_records(&kafka, Partition(0), 250).await;
    let mut reader = Reader::new(kafka.member(&kafka.topic, small(cooperative())).unwrap());
    (reader.seen, reader.records, reader.incarnations) = (seen, records, incarnations);
    reader.until("a gap", |r| !r.gaps.is_empty()).await;
    let gap = &reader.gaps[0];
    assert_eq!((gap.wanted, gap.start, gap.end, gap.reason), (at, 250, 300, GapReason::Expired));
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_under_a_slow_reader_is_a_gap() {
    let broker = broker();
    let mut kafka = topic(&broker, 1).await;
    // The source reads almost nothing ahead.
    for (key, value) in [("queued.min.messages", "1"), ("fetch.message.max.bytes", "2000")] {
        kafka.properties.insert(key.to_owned(), value.to_owned());
    }
    let sink = kafka.sink(feedkit_kafka::SinkOptions::default()).unwrap();
    for _ in 0..100 {
        // Each batch is as small as a fetch.
        let batch = (0..5).map(|_| record("a", vec![b'x'; 1000])).collect();
        for outcome in sink.send(batch).await {
            outcome.unwrap();
        }
    }
    let mut options = small(cooperative());
    options.max_records = 5;
    let mut reader = Reader::new(kafka.broadcast(options).unwrap());
    reader.until("some", |r| r.count() > 0).await;
    reader.source.pause(Partition(0));
    delete_records(&kafka, Partition(0), 450).await;
    reader.source.resume(Partition(0));
    reader.until("a gap", |r| !r.gaps.is_empty() || r.count() == 500).await;
    let gap = reader.gaps.first().expect("a gap: all records were read ahead");
    assert_eq!((gap.start, gap.end, gap.reason), (450, 500, GapReason::Expired));
    // The reader has received all records up to the gap, and none after it.
    assert_eq!(gap.wanted, reader.count() as u64);
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn another_record_before_the_position_is_a_gap() {
    let broker = broker();
    let kafka = topic(&broker, 1).await;
    let sink = sink(&kafka).await;
    fill(&sink, 1, 0..50).await;
    let mut reader = Reader::new(kafka.broadcast(small(cooperative())).unwrap());
    reader.until("all", |r| r.count() == 50).await;
    let mark = reader.records[&Partition(0)][20].mark();
    for (changed, is_gap) in [(false, false), (true, true)] {
        let mut source = kafka.broadcast(small(cooperative())).unwrap();
        let mut last = mark;
        last.hash ^= u64::from(changed);
        let SourceEvent::Assigned(assigned) = source.next().await.unwrap() else { panic!("not assigned") };
        assigned.resume(Resume { offset: 21, log: None, last: Some(last) });
        match source.next().await.unwrap() {
            SourceEvent::Gap(gap) => {
                assert!(is_gap, "{gap}");
                assert_eq!((gap.wanted, gap.start, gap.end, gap.reason), (21, 0, 50, GapReason::Recreated));
            }
            SourceEvent::Batch(batch) => {
                assert!(!is_gap, "a batch from {}", batch.from);
                assert_eq!((batch.from, batch.records[0].offset), (21, 21));
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn a_topic_made_anew_is_a_gap(protocol: GroupProtocol, member: bool) {
    let broker = broker();
    let mut kafka = topic(&broker, 2).await;
    let refresh = ("topic.metadata.refresh.interval.ms".to_owned(), "500".to_owned());
    kafka.properties.extend([refresh]);
    let sender = sink(&kafka).await;
    fill(&sender, 10, 0..50).await;
    drop(sender);
    let source = match member {
        true => kafka.member(&kafka.topic, small(protocol)),
        false => kafka.broadcast(small(protocol)),
    };
    let mut reader = Reader::new(source.unwrap());
    reader.until("all", |r| r.count() == 50).await;
    let known = reader.incarnations.clone();
    delete_topic(&kafka).await;
    create_topics(&kafka, &[NewTopic::new(&kafka.topic).partitions(2)]).await.unwrap();
    // More records than before, so that no offset is out of range.
    let sender = sink(&kafka).await;
    eventually("the new topic is written to", async || sender_fills(&sender).await).await;
    reader.until("both gaps", |r| r.gaps.len() >= 2).await;
    for gap in &reader.gaps {
        assert_eq!(gap.reason, GapReason::Recreated);
    }
    assert_eq!(reader.incarnations, known);
    assert_eq!(reader.values(), numbers(0..50), "the reader received records of the new topic");
    // A reader without a position reads the new topic.
    let mut other = Reader::new(kafka.broadcast(small(cooperative())).unwrap());
    other.until("records", |r| r.count() >= 500).await;
    assert_ne!(other.incarnations, known);
    tokio::time::sleep(Duration::from_millis(10)).await;
}

async fn sender_fills(sink: &dyn feedkit_core::EventSink) -> bool {
    let batch = (0..500).map(|i| record(&format!("k{}", i % 10), format!("new {i}"))).collect();
    sink.send(batch).await.iter().all(Result::is_ok)
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_a_gap_by_the_classic_protocol() {
    a_topic_made_anew_is_a_gap(cooperative(), true).await;
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_a_gap_by_kip_848() {
    a_topic_made_anew_is_a_gap(GroupProtocol::Consumer, true).await;
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_a_gap_to_a_broadcast_reader() {
    a_topic_made_anew_is_a_gap(cooperative(), false).await;
}
