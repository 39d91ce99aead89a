//! Measures the throughput:
//! `cargo test -p feedkit-kafka --release -- --ignored --nocapture throughput`.

use std::time::Instant;

use feedkit_core::EventSink;
use feedkit_kafka::{SinkOptions, SourceOptions};

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput() {
    let broker = broker();
    let kafka = topic(&broker, 4).await;
    let sink = kafka.sink(SinkOptions::default()).unwrap();
    fill(&sink, 100, 0..100).await;
    let value = bytes::Bytes::from(vec![b'x'; 120]);
    let (total, batch) = (1_000_000, 500);
    let start = Instant::now();
    // 16 senders of batches of 500, as a gateway has them.
    let send = async |sender: usize| {
        for n in 0..total / batch / 16 {
            let records = (0..batch)
                .map(|i| record(&format!("u{}", (sender * 7919 + n * batch + i) % 100_000), value.clone()));
            for outcome in sink.send(records.collect()).await {
                outcome.unwrap();
            }
        }
    };
    futures_util::future::join_all((0..16).map(send)).await;
    let sent = 16 * (total / batch / 16) * batch + 100;
    println!("sent {:.0} records/s", sent as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mut reader = Reader::new(kafka.broadcast(SourceOptions::default()).unwrap());
    reader.until("all", |r| r.count() == sent).await;
    println!("read {:.0} records/s", sent as f64 / start.elapsed().as_secs_f64());
}
