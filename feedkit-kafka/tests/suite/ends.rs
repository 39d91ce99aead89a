//! The end of the log, for readers and for writers.

use feedkit_core::Partition;
use feedkit_test_services::{apply, needs_kafka};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::support::{DEADLINE, broker, fill, sink, topic, unique};

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_an_open_transaction_is_written_and_not_to_be_read_yet() {
    let broker = broker();
    let kafka = topic(&broker, 1).await;
    let (ours, at) = (sink(&kafka).await, Partition(0));
    fill(&ours, 1, 0..3).await;
    assert_eq!((kafka.ends().await.unwrap().of(at), kafka.written().await.unwrap().of(at)), (3, 3));
    let (bootstrap, name) = (kafka.bootstrap.clone(), kafka.topic.clone());
    let begin = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", unique("open"))
            .create()
            .unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer.begin_transaction().unwrap();
        let record: BaseRecord<'_, str, str> = BaseRecord::to(&name).partition(0).key("t").payload("open");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(DEADLINE).unwrap();
        producer
    };
    let producer = tokio::task::spawn_blocking(begin).await.unwrap();
    // An acknowledged position is never beyond the end of written records.
    let position = fill(&ours, 1, 3..4).await[0];
    assert_eq!(kafka.ends().await.unwrap().of(at), 3);
    assert_eq!(kafka.written().await.unwrap().of(at), position.offset);
    tokio::task::spawn_blocking(move || producer.commit_transaction(DEADLINE).unwrap()).await.unwrap();
}
