//! A fresh topic for each test, and a reader that takes events until a condition holds.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::{Batch, Gap, Record, Resume, RevokeGuard, SourceEvent};
use feedkit_core::{EventSink, EventSource, Offset, Partition, Position};
use feedkit_kafka::admin::{NewTopic, create_topics};
use feedkit_kafka::{GroupProtocol, Kafka, KafkaSource, SinkOptions, SourceOptions};
use feedkit_test_services::given;
pub use feedkit_test_services::{DEADLINE, eventually, unique};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};

/// The broker that all tests share.
pub fn broker() -> String {
    given("FEEDKIT_TEST_KAFKA")
}

/// A fresh topic.
pub async fn topic(broker: &str, partitions: u32) -> Kafka {
    let kafka = Kafka::new(broker, unique("test"));
    let new_topic = NewTopic::new(&kafka.topic).partitions(partitions);
    create_topics(&kafka, &[new_topic]).await.unwrap();
    kafka
}

pub fn cooperative() -> GroupProtocol {
    GroupProtocol::Cooperative {
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(100),
    }
}

/// Options with small batches and short intervals.
pub fn small(protocol: GroupProtocol) -> SourceOptions {
    let mut options = SourceOptions::default();
    options.max_records = 14;
    options.protocol = protocol;
    options.partition_refresh = Duration::from_millis(300);
    options.statistics_interval = Duration::from_millis(200);
    options
}

pub fn record(key: &str, value: impl Into<Bytes>) -> NewRecord {
    NewRecord::keyed(key, value.into())
}

/// Sends numbered values under this many keys. Returns their positions.
pub async fn fill(sink: &dyn EventSink, keys: usize, values: std::ops::Range<usize>) -> Vec<Position> {
    let batch = values.map(|i| record(&format!("k{}", i % keys), format!("{i}"))).collect();
    sink.send(batch).await.into_iter().map(|outcome| outcome.unwrap()).collect()
}

pub async fn sink(kafka: &Kafka) -> feedkit_kafka::KafkaSink {
    kafka.sink(SinkOptions::default()).unwrap()
}

pub fn admin(broker: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker).create().unwrap()
}

/// Deletes the records of a partition before an offset.
pub async fn delete_records(kafka: &Kafka, partition: Partition, before: Offset) {
    let mut list = TopicPartitionList::new();
    let place = Place::Offset(before as i64);
    list.add_partition_offset(&kafka.topic, partition.0 as i32, place).unwrap();
    let deleted = admin(&kafka.bootstrap).delete_records(&list, &AdminOptions::new()).await.unwrap();
    deleted.elements()[0].error().unwrap();
}

/// Deletes the topic and waits until it no longer exists.
pub async fn delete_topic(kafka: &Kafka) {
    let deleted = admin(&kafka.bootstrap).delete_topics(&[&kafka.topic], &AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
    while feedkit_kafka::admin::partitions(kafka).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Aborts a transaction of this many records, which leaves a hole in the offsets.
pub async fn hole(kafka: &Kafka, partition: Partition, records: usize) {
    transaction(kafka, partition, records, false).await;
}

pub async fn transaction(kafka: &Kafka, partition: Partition, records: usize, commit: bool) {
    let kafka = kafka.clone();
    let work = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &kafka.bootstrap)
            .set("transactional.id", unique("transaction"))
            .create()
            .unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer.begin_transaction().unwrap();
        for i in 0..records {
            let value = format!("transaction {i}");
            let record: BaseRecord<'_, str, str> =
                BaseRecord::to(&kafka.topic).partition(partition.0 as i32).key("t").payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
        match commit {
            true => producer.commit_transaction(DEADLINE).unwrap(),
            false => producer.abort_transaction(DEADLINE).unwrap(),
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// A reader that resumes partitions from its own positions and keeps all events.
pub struct Reader {
    pub source: KafkaSource,
    /// The partitions it has now, with the next offset.
    pub at: BTreeMap<Partition, Offset>,
    /// All partitions that it has ever read, with the next offset.
    pub seen: BTreeMap<Partition, Offset>,
    pub records: BTreeMap<Partition, Vec<Record>>,
    pub incarnations: BTreeMap<Partition, u128>,
    pub ended: BTreeMap<Partition, bool>,
    pub gaps: Vec<Gap>,
    pub lost: Vec<Partition>,
    pub guards: Vec<RevokeGuard>,
    /// Whether it keeps the guards of revoked partitions.
    pub holds: bool,
    /// Whether it resumes with the incarnation that it knows.
    pub knows: bool,
}

impl Reader {
    pub fn new(source: KafkaSource) -> Self {
        Reader {
            source,
            at: BTreeMap::new(),
            seen: BTreeMap::new(),
            records: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            ended: BTreeMap::new(),
            gaps: Vec::new(),
            lost: Vec::new(),
            guards: Vec::new(),
            holds: false,
            knows: true,
        }
    }

    pub fn note(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(assigned) => {
                let partition = assigned.partition;
                let offset = self.seen.get(&partition).copied().unwrap_or(0);
                let known = self.incarnations.get(&partition).copied();
                let log = known.filter(|_| self.knows);
                self.incarnations.entry(partition).or_insert(assigned.log);
                self.at.insert(partition, offset);
                let last = self.records.get(&partition).and_then(|r| r.last()).map(Record::mark);
                assigned.resume(Resume { offset, log, last });
            }
            SourceEvent::Batch(Batch { partition, from, to, at_end, records }) => {
                assert_eq!(self.at.insert(partition, to), Some(from), "partition {partition}");
                self.seen.insert(partition, to);
                self.ended.insert(partition, at_end);
                self.records.entry(partition).or_default().extend(records);
            }
            SourceEvent::Revoked(revoked) => {
                revoked.partitions.iter().for_each(|p| _ = self.at.remove(p));
                if self.holds {
                    self.guards.push(revoked.guard);
                }
            }
            SourceEvent::Lost(partitions) => {
                partitions.iter().for_each(|p| _ = self.at.remove(p));
                self.lost.extend(partitions);
            }
            SourceEvent::Gap(gap) => {
                self.at.remove(&gap.partition);
                self.gaps.push(gap);
            }
        }
    }

    /// Takes events until `enough` holds. Retries after a retriable error.
    pub async fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !enough(self) {
            match tokio::time::timeout_at(end, self.source.next()).await {
                Ok(Ok(event)) => self.note(event),
                Ok(Err(error)) => {
                    assert!(error.is_retriable(), "{what}: {error:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(_) => panic!("timed out waiting for {what}; at {:?}, {} records", self.at, self.count()),
            }
        }
    }

    pub fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    /// All values, sorted.
    pub fn values(&self) -> Vec<String> {
        let text = |r: &Record| String::from_utf8_lossy(&r.value).into_owned();
        let mut values: Vec<_> = self.records.values().flatten().map(text).collect();
        values.sort();
        values
    }
}

/// The values that [`fill`] sends, sorted.
pub fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    let mut values: Vec<_> = range.map(|i| i.to_string()).collect();
    values.sort();
    values
}
