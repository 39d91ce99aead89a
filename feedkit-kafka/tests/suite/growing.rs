//! Partitions are added, and members come and go, under traffic.

use std::collections::BTreeMap;

use feedkit_core::Partition;
use feedkit_core::source::Record;
use feedkit_kafka::{GroupProtocol, Kafka};
use feedkit_test_services::{apply, needs_kafka};
use rdkafka::admin::{AdminOptions, NewPartitions};

use super::support::*;

async fn quick(broker: &str, partitions: u32) -> Kafka {
    let mut kafka = topic(broker, partitions).await;
    let refresh = ("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned());
    kafka.properties.extend([refresh]);
    kafka
}

async fn grow(kafka: &Kafka, partitions: usize) {
    let grown = [NewPartitions::new(&kafka.topic, partitions)];
    let results = admin(&kafka.bootstrap).create_partitions(&grown, &AdminOptions::new()).await.unwrap();
    results[0].as_ref().unwrap();
}

async fn from_4_to_8_partitions(protocol: GroupProtocol) {
    let broker = broker();
    let kafka = quick(&broker, 4).await;
    let sink = kafka.sink(feedkit_kafka::SinkOptions::default()).unwrap();
    let mut member = Reader::new(kafka.member(&kafka.topic, small(protocol.clone())).unwrap());
    let mut broadcast = Reader::new(kafka.broadcast(small(protocol)).unwrap());
    fill(&sink, 500, 0..500).await;
    member.until("500", |r| r.count() == 500).await;
    broadcast.until("500", |r| r.count() == 500).await;
    grow(&kafka, 8).await;
    let mut sent = 500;
    let mut reached = std::collections::BTreeSet::new();
    while reached.len() < 8 {
        reached.extend(fill(&sink, 500, sent..sent + 100).await.iter().map(|position| position.partition));
        sent += 100;
    }
    for reader in [&mut member, &mut broadcast] {
        reader.until("all", |r| r.count() >= sent && r.at.len() == 8).await;
        assert_eq!(reader.values(), numbers(0..sent));
        assert_eq!(reader.gaps, []);
    }
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_are_read_by_the_classic_protocol() {
    from_4_to_8_partitions(cooperative()).await;
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_are_read_by_kip_848() {
    from_4_to_8_partitions(GroupProtocol::Consumer).await;
}

/// The group goes from 1 to 3 members and back. Members share their positions, as they do through a
/// history.
async fn members_come_and_go(protocol: GroupProtocol) {
    let broker = broker();
    let kafka = quick(&broker, 6).await;
    let sink = sink(&kafka).await;
    let new = || Reader::new(kafka.member(&kafka.topic, small(protocol.clone())).unwrap());
    let mut readers = vec![new()];
    let mut all: BTreeMap<Partition, Vec<Record>> = BTreeMap::new();
    let mut sent = 0;
    for members in [1, 3, 2, 1] {
        readers.truncate(members);
        while readers.len() < members {
            readers.push(new());
        }
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            fill(&sink, 60, sent..sent + 30).await;
            sent += 30;
            for reader in &mut readers {
                step(reader, &mut all).await;
            }
            let held: Vec<usize> = readers.iter().map(|r| r.at.len()).collect();
            if held.iter().sum::<usize>() == 6 && held.iter().all(|n| *n == 6 / members) {
                break;
            }
            assert!(tokio::time::Instant::now() < end, "{members} members hold {held:?}");
        }
    }
    let end = tokio::time::Instant::now() + DEADLINE;
    while all.values().map(Vec::len).sum::<usize>() < sent {
        step(&mut readers[0], &mut all).await;
        assert!(tokio::time::Instant::now() < end, "some records were not read");
    }
    let text = |r: &Record| String::from_utf8_lossy(&r.value).into_owned();
    let mut values: Vec<_> = all.values().flatten().map(text).collect();
    values.sort();
    assert_eq!(values, numbers(0..sent));
    for records in all.values() {
        assert!(records.is_sorted_by(|a, b| a.offset < b.offset), "a partition's records are out of order");
    }
}

/// Takes the events that have arrived. All readers share their positions.
async fn step(reader: &mut Reader, all: &mut BTreeMap<Partition, Vec<Record>>) {
    use feedkit_core::EventSource;
    let wait = std::time::Duration::from_millis(20);
    while let Ok(event) = tokio::time::timeout(wait, reader.source.next()).await {
        std::mem::swap(&mut reader.records, all);
        reader.seen =
            reader.records.iter().map(|(p, r)| (*p, r.last().map_or(0, |r| r.offset + 1))).collect();
        reader.note(event.unwrap());
        std::mem::swap(&mut reader.records, all);
    }
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_by_the_classic_protocol() {
    members_come_and_go(cooperative()).await;
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_by_kip_848() {
    members_come_and_go(GroupProtocol::Consumer).await;
}
