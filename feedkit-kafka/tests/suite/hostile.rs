//! Records that no gateway writes, and that the source must read anyway.

use std::time::Duration;

use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::{ErrorKind, EventSink, Partition};
use feedkit_kafka::admin::{NewTopic, create_topics};
use feedkit_kafka::{Kafka, SinkOptions, refuses_all};
use feedkit_test_services::{apply, needs_kafka};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::support::*;

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn values_of_no_and_of_five_million_bytes_pass() {
    let broker = broker();
    let mut kafka = Kafka::new(&broker, unique("test"));
    let new_topic = NewTopic::new(&kafka.topic).partitions(2).set("max.message.bytes", "8000000");
    create_topics(&kafka, &[new_topic]).await.unwrap();
    kafka.properties.insert("message.max.bytes".to_owned(), "8000000".to_owned());
    // Without this, compression would make the large value tiny.
    kafka.properties.insert("compression.type".to_owned(), "none".to_owned());
    let sink = kafka.sink(SinkOptions::default()).unwrap();
    let large: Bytes =
        (0..5_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>().into();
    let mut sent = Vec::new();
    for round in 0..4 {
        let values =
            [Bytes::new(), large.clone(), Bytes::from_static(b"{\0\xff"), Bytes::from(format!("{round}"))];
        let batch: Vec<_> = values.into_iter().map(|value| NewRecord::keyed("k", value)).collect();
        for (record, outcome) in batch.iter().zip(sink.send(batch.clone()).await) {
            outcome.unwrap();
            sent.push(record.value.clone());
        }
    }
    let mut reader = Reader::new(kafka.member(&kafka.topic, small(cooperative())).unwrap());
    reader.until("all", |r| r.count() == sent.len()).await;
    let found: Vec<_> = reader.records.values().flatten().map(|r| r.value.clone()).collect();
    assert!(found == sent, "values came back changed");
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn tombstones_and_foreign_partitions_are_read_like_anything_else() {
    let broker = broker();
    let kafka = topic(&broker, 3).await;
    let target = kafka.clone();
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &target.bootstrap).create().unwrap();
        for partition in 0..3 {
            let record = BaseRecord::<str, str>::to(&target.topic).key("same").partition(partition);
            producer.send(record).map_err(|(e, _)| e).unwrap();
            let record = BaseRecord::<str, str>::to(&target.topic).payload("keyless").partition(partition);
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    })
    .await
    .unwrap();
    let mut reader = Reader::new(kafka.broadcast(small(cooperative())).unwrap());
    reader.until("all", |r| r.count() == 6).await;
    for records in reader.records.values() {
        let found: Vec<_> = records.iter().map(|r| (r.key.as_deref(), &r.value[..])).collect();
        assert_eq!(found, [(Some(&b"same"[..]), &b""[..]), (None, b"keyless")]);
    }
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_codec_are_read() {
    let kafka = topic(&broker(), 1).await;
    // Short values are not worth compressing.
    let value = |codec: &str| codec.repeat(1000);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let target = kafka.clone();
    tokio::task::spawn_blocking(move || {
        for codec in codecs {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", &target.bootstrap)
                .set("compression.type", codec)
                .create()
                .unwrap();
            let value = value(codec);
            let record = BaseRecord::<str, str>::to(&target.topic).key("k").payload(&value);
            producer.send(record).map_err(|(e, _)| e).unwrap();
            producer.flush(DEADLINE).unwrap();
        }
    })
    .await
    .unwrap();
    for source in [kafka.broadcast(small(cooperative())), kafka.member(&kafka.topic, small(cooperative()))] {
        let mut reader = Reader::new(source.unwrap());
        reader.until("all", |r| r.count() == codecs.len()).await;
        let found: Vec<_> = reader.records[&Partition(0)].iter().map(|r| r.value.to_vec()).collect();
        assert_eq!(found, codecs.map(|codec| value(codec).into_bytes()));
    }
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_the_broker_does_not_accept_is_no_fault_of_the_sender() {
    let kafka = Kafka::new(broker(), unique("test"));
    // Every record is too old for this topic, as it would be if this machine's clock were slow.
    let new_topic = NewTopic::new(&kafka.topic).set("message.timestamp.before.max.ms", "0");
    create_topics(&kafka, &[new_topic]).await.unwrap();
    let mut options = SinkOptions::default();
    options.linger = Duration::from_millis(50);
    let sink = kafka.sink(options).unwrap();
    let error = sink.send(vec![record("k", "x")]).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    assert!(refuses_all(&error) && error.to_string().contains("clock"), "{error}");
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_exists_is_compared_with_what_was_asked_for() {
    let kafka = topic(&broker(), 2).await;
    let as_it_is = NewTopic::new(&kafka.topic).partitions(2);
    let same = create_topics(&kafka, std::slice::from_ref(&as_it_is)).await.unwrap().remove(0);
    assert_eq!((same.is_new, same.differences), (false, vec![]));
    let other = as_it_is.partitions(3).set("cleanup.policy", "compact");
    let differs = create_topics(&kafka, &[other]).await.unwrap().remove(0).differences;
    assert_eq!(differs, ["the number of partitions is 2, not 3", "cleanup.policy is delete, not compact"]);
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_were_given_up_are_holes_and_the_end_is_reached() {
    let broker = broker();
    let kafka = topic(&broker, 1).await;
    let sink = sink(&kafka).await;
    let partition = Partition(0);
    let mut reader = Reader::new(kafka.member(&kafka.topic, small(cooperative())).unwrap());
    for round in 0..3 {
        fill(&sink, 1, round * 10..round * 10 + 10).await;
        transaction(&kafka, partition, 3, round % 2 == 0).await;
        let end = kafka.ends().await.unwrap().of(partition);
        reader.until("the end", |r| r.seen.get(&partition) == Some(&end)).await;
        assert!(reader.ended[&partition], "the last batch is not at the end");
    }
    // Each transaction left a marker. The aborted one left its records too.
    assert_eq!(reader.count(), 30 + 6);
    assert_eq!(reader.seen[&partition], 30 + 3 * 4);
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_lies_where_javas_producer_would_put_it() {
    let broker = broker();
    let kafka = topic(&broker, 8).await;
    let sink = sink(&kafka).await;
    // Utils.toPositive(Utils.murmur2(key)) % 8
    for (key, partition) in [("21", 3), ("foobar", 0), ("a-little-bit-long-string", 2)] {
        let position = sink.send(vec![record(key, "x")]).await.remove(0).unwrap();
        assert_eq!(position.partition, Partition(murmur2(key.as_bytes()) % 8), "{key}");
        let known = match key {
            "21" => -973_932_308_i32,
            "foobar" => -790_332_482,
            _ => -985_981_536,
        };
        // The values come from Kafka's own tests of that function.
        assert_eq!(murmur2(key.as_bytes()), (known & 0x7fff_ffff) as u32, "{key} {partition}");
    }
}

/// `org.apache.kafka.common.utils.Utils.murmur2`, made positive.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (i, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    (h ^ (h >> 15)) & 0x7fff_ffff
}
