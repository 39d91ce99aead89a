//! Seeded traffic, which is sent to the topic in portions while the test does other things.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use feedkit_core::sink::NewRecord;
use feedkit_core::traffic::{Farm, Steady, TrafficOptions};
use feedkit_core::{EventSink, PostId};
use feedkit_kafka::{Kafka, KafkaSink, SinkOptions};
use feedkit_test_services::DEADLINE;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinHandle;

/// Traffic with everything: repeats, unlikes, lines that are not events, events with and without an
/// id of the client, a post that is liked steadily, and a like farm.
pub(crate) fn lively(seed: u64) -> TrafficOptions {
    let post = PostId::new("promoted").unwrap();
    TrafficOptions::default()
        .seed(seed)
        .count(u64::MAX)
        .users(300)
        .posts(60)
        .rate(2.0)
        .malformed(0.01)
        .repeats(0.03)
        .without_id(0.2)
        .without_time(0.05)
        .steady(vec![Steady { post: post.clone(), rate: 0.5 }])
        .farms(vec![Farm::new(post, Duration::from_secs(900))])
}

/// The seed of this run: `FEEDKIT_SEED`, or a new one. The test prints it.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("FEEDKIT_SEED").ok().map(|text| text.parse().unwrap());
    let seed = given.unwrap_or_else(|| rand::rng().next_u64() >> 16);
    println!("seed {seed}: repeat with FEEDKIT_SEED={seed}");
    seed
}

/// Sends records until each is acknowledged. A record may be in the log twice.
pub(crate) struct Sender {
    sink: KafkaSink,
}

impl Sender {
    pub(crate) fn to(kafka: &Kafka) -> Sender {
        Sender { sink: kafka.sink(SinkOptions::default()).unwrap() }
    }

    /// Sends like a client: a record that is not acknowledged is sent again.
    pub(crate) async fn send(&self, mut records: Vec<NewRecord>) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !records.is_empty() {
            let outcomes = self.sink.send(records.clone()).await;
            let failed = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
            if let Some(error) = failed {
                assert!(tokio::time::Instant::now() < end, "not acknowledged: {error:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let mut outcomes = outcomes.into_iter();
            records.retain(|_| outcomes.next().is_some_and(|outcome| outcome.is_err()));
        }
    }
}

/// Traffic that runs until it is stopped.
pub(crate) struct Flow {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Flow {
    /// Sends `portion` items, pauses, and repeats. Now and then it sends a portion again, like a
    /// client that has missed the answer.
    pub(crate) fn start(kafka: &Kafka, config: &TrafficOptions, portion: usize, pause: Duration) -> Flow {
        let (sender, mut traffic) = (Sender::to(kafka), config.traffic());
        let mut rng = ChaCha8Rng::seed_from_u64(!config.seed);
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let records: Vec<_> = traffic.by_ref().take(portion).map(|item| item.record()).collect();
                if records.is_empty() {
                    return;
                }
                let again = rng.random_bool(0.05).then(|| records.clone());
                counted.fetch_add(records.len() as u64, Ordering::Relaxed);
                sender.send(records).await;
                if let Some(again) = again {
                    sender.send(again).await;
                }
                tokio::time::sleep(pause).await;
            }
        });
        Flow { stop, sent, task }
    }

    /// How many items were sent, without repeats.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops sending, and waits until all items are acknowledged.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}
