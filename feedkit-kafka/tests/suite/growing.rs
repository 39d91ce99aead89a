use super::support::*;
use feedkit_core::EventSource;
use feedkit_kafka::admin::*;
#[tokio::test(flavor = "multi_thread")]
async fn scratch() {
    let Some(broker) = broker() else { return };
    let kafka = topic(&broker, 3).await;
    for _ in 0..2 {
        let mut r = Reader::new(kafka.broadcast(small(cooperative())).unwrap());
        let s = sink(&kafka).await;
        fill(&s, 3, 0..10).await;
        r.until("x", |r| r.at.len() == 3).await;
        eprintln!("{:?} {:x?}", r.at, r.incarnations);
        delete_topic(&kafka).await;
        create_topics(&kafka, &[TopicSettings::new(&kafka.topic).partitions(3)]).await.unwrap();
        eprintln!("recreated");
        for _ in 0..10 {
            match tokio::time::timeout(std::time::Duration::from_secs(1), r.source.next()).await {
                Ok(x) => eprintln!("{x:?}"),
                Err(_) => eprintln!("-"),
            }
        }
    }
}
