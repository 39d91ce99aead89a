//! The conformance suites of sinks and sources.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::testkit::conformance::{self, LogHarness, Named};
use feedkit_core::{EventSink, EventSource, Offset, Partition};
use feedkit_kafka::admin::{NewTopic, create_topics};
use feedkit_kafka::{GroupProtocol, Kafka, KafkaSink, SinkOptions};
use feedkit_test_services::{apply, needs_kafka};

use super::support::{broker, cooperative, delete_records, delete_topic, hole, small, topic, unique};

/// A topic of three partitions that is read in small batches.
struct Harness {
    kafka: Kafka,
    sink: KafkaSink,
    protocol: GroupProtocol,
}

async fn fresh(broker: &str, protocol: &GroupProtocol) -> Harness {
    let kafka = topic(broker, 3).await;
    let sink = kafka.sink(SinkOptions::default()).unwrap();
    Harness { kafka, sink, protocol: protocol.clone() }
}

#[async_trait]
impl LogHarness for Harness {
    fn partitions(&self) -> u32 {
        3
    }
    fn sink(&self) -> &dyn EventSink {
        &self.sink
    }
    fn quiet(&self) -> Duration {
        Duration::from_millis(1500)
    }
    async fn member(&self, group: &str) -> Named {
        // Groups belong to the cluster, not to the topic.
        let group = format!("{}-{group}", self.kafka.topic);
        let name = unique("member");
        let mut kafka = self.kafka.clone();
        kafka.properties.insert("client.id".to_owned(), name.clone());
        Named { name, source: Box::new(kafka.member(&group, small(self.protocol.clone())).unwrap()) }
    }
    async fn broadcast(&self) -> Box<dyn EventSource> {
        Box::new(self.kafka.broadcast(small(self.protocol.clone())).unwrap())
    }
    fn refused(&self) -> Option<NewRecord> {
        Some(NewRecord { key: None, value: Bytes::from(vec![0; 2_000_000]) })
    }
    async fn reopen(&mut self) -> bool {
        self.sink = self.kafka.sink(SinkOptions::default()).unwrap();
        true
    }
    async fn skip(&self, partition: Partition) -> bool {
        hole(&self.kafka, partition, 2).await;
        true
    }
    async fn expire_before(&self, partition: Partition, start: Offset) -> bool {
        delete_records(&self.kafka, partition, start).await;
        true
    }
    async fn recreate(&self) -> bool {
        delete_topic(&self.kafka).await;
        let topic = NewTopic::new(&self.kafka.topic).partitions(3);
        create_topics(&self.kafka, &[topic]).await.unwrap();
        true
    }
    // A member that was declared dead joins again by itself. `zombie` tests that.
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_sink_keeps_its_contract() {
    let broker = broker();
    conformance::sink(async || fresh(&broker, &cooperative()).await).await;
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_source_keeps_its_contract_by_the_classic_protocol() {
    let broker = broker();
    conformance::source(async || fresh(&broker, &cooperative()).await).await;
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_source_keeps_its_contract_by_kip_848() {
    let broker = broker();
    conformance::source(async || fresh(&broker, &GroupProtocol::Consumer).await).await;
}
