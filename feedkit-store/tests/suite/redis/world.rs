//! A pipeline to count with, and the model to compare with.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::memory::{MemoryHistory, MemoryLog};
use feedkit_core::pipeline::{Backoff, CounterFollower, PipelineHandle};
use feedkit_core::testkit::{ManualClock, Model};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, EventSink, History, JsonCodec, Pipeline, Positions, Result, Timestamp};
use feedkit_test_services::DEADLINE;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A log and a history in memory, and traffic for them.
#[derive(Clone)]
pub struct World {
    pub log: MemoryLog,
    pub history: Arc<MemoryHistory>,
    pub clock: ManualClock,
}

/// A running pipeline.
pub struct Running {
    pub handle: PipelineHandle,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl World {
    pub fn new() -> World {
        let clock = ManualClock::at(Timestamp::from_millis(1_735_689_600_000));
        World { log: MemoryLog::with_max_batch(4, clock.clone(), 50), history: Arc::default(), clock }
    }

    /// Starts a pipeline that counts in `counters`.
    pub fn start(&self, counters: impl CounterStore) -> Running {
        let history: Arc<dyn History> = self.history.clone();
        let follower = CounterFollower::new("counters", counters, history.clone(), Trending::default());
        let pipeline = Pipeline::builder(self.log.reader("g"), history)
            .follower(follower)
            .clock(self.clock.clone())
            .configure(|config| {
                config.group = "g".to_owned();
                config.max_batch = 100;
                config.backoff =
                    Backoff { first: Duration::from_millis(5), most: Duration::from_millis(100) };
                config.shutdown_deadline = Duration::from_secs(30);
            })
            .build();
        let shutdown = CancellationToken::new();
        Running { handle: pipeline.handle(), task: tokio::spawn(pipeline.run(shutdown.clone())), shutdown }
    }

    pub async fn send(&self, seed: u64, count: u64) {
        println!("traffic of seed {seed}");
        let config = TrafficOptions::default().seed(seed).count(count).users(200).posts(150);
        let items: Vec<_> = config.traffic().collect();
        for some in items.chunks(37) {
            self.clock.set(some[some.len() - 1].time);
            for outcome in self.log.send(some.iter().map(|item| item.record()).collect()).await {
                outcome.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }

    pub fn ends(&self) -> Positions {
        self.log.ends()
    }

    /// The differences from the model.
    pub async fn differences(&self, counters: &dyn CounterStore) -> Result<Vec<String>> {
        let mut model = Model::new(JsonCodec::default(), self.log.incarnation());
        for (partition, _) in self.log.ends().iter() {
            self.log.records(partition).iter().for_each(|record| model.feed(partition, record));
        }
        assert!(model.top().len() > 20, "the traffic is too thin to show anything");
        let now = Timestamp::from_millis(1_735_776_000_000);
        model.compare_counters(counters, &Trending::default(), now).await
    }

    pub async fn check(&self, counters: &dyn CounterStore) {
        assert_eq!(self.differences(counters).await.unwrap(), [] as [String; 0]);
    }

    /// Waits until the counters equal the model's.
    pub async fn agrees(&self, counters: &dyn CounterStore) {
        let mut last = Ok(Vec::new());
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while tokio::time::Instant::now() < deadline {
            last = self.differences(counters).await;
            if last.as_ref().is_ok_and(Vec::is_empty) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the counters never agree with the model: {last:?}");
    }
}

impl Running {
    pub async fn reached(&self, world: &World) {
        tokio::time::timeout(DEADLINE, self.handle.reached(&world.ends())).await.unwrap().unwrap();
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}
