//! A log, a history and counters in memory, with traffic and the reference model.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::memory::{MemoryCounters, MemoryHistory, MemoryLog};
use feedkit_core::pipeline::{Backoff, CounterFollower, PipelineBuilder, PipelineHandle};
use feedkit_core::testkit::{ManualClock, Model};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::trending::Trending;
use feedkit_core::{EventSink, History, JsonCodec, Partition, Pipeline, Positions, Result, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Everything that outlives a pipeline.
#[derive(Clone)]
pub(super) struct World {
    pub(super) log: MemoryLog,
    pub(super) history: Arc<MemoryHistory>,
    pub(super) counters: Arc<MemoryCounters>,
    pub(super) clock: ManualClock,
}

/// A pipeline at work.
pub(super) struct Running {
    pub(super) handle: PipelineHandle,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_735_689_600_000));
        World {
            log: MemoryLog::with_max_batch(4, clock.clone(), 50),
            history: Arc::new(MemoryHistory::new()),
            counters: Arc::new(MemoryCounters::new(Trending::default())),
            clock,
        }
    }

    /// A pipeline of consumer group `g` with this world's counters. `history` is this world's, or
    /// wraps it.
    pub(super) fn pipeline(&self, history: Arc<dyn History>) -> PipelineBuilder {
        let counters =
            CounterFollower::new("counters", self.counters.clone(), history.clone(), Trending::default());
        Pipeline::builder(self.log.reader("g"), history)
            .follower(counters)
            .clock(self.clock.clone())
            .configure(|config| {
                config.group = "g".to_owned();
                config.max_batch = 100;
                config.feed_effects = 200;
                config.backoff = Backoff { first: Duration::from_millis(1), most: Duration::from_millis(20) };
                config.shutdown_deadline = Duration::from_secs(5);
            })
    }

    /// A pipeline without followers.
    pub(super) fn bare_pipeline(&self) -> PipelineBuilder {
        let pipeline = Pipeline::builder(self.log.reader("g"), self.history.clone());
        pipeline.clock(self.clock.clone()).configure(|config| config.group = "g".to_owned())
    }

    pub(super) fn start(&self) -> Running {
        Running::start(self.pipeline(self.history.clone()))
    }

    /// Sends seeded traffic, a few records at a time. The clock moves with it.
    pub(super) async fn send(&self, seed: u64, count: u64) {
        println!("traffic of seed {seed}");
        let config = TrafficOptions::default().seed(seed).count(count).users(60).posts(40).malformed(0.02);
        let items: Vec<_> = config.traffic().collect();
        for some in items.chunks(37) {
            self.clock.set(some[some.len() - 1].time);
            for outcome in self.log.send(some.iter().map(|item| item.record()).collect()).await {
                outcome.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Where the log ends.
    pub(super) fn ends(&self) -> Positions {
        self.log.ends()
    }

    /// The reference model after everything in the log.
    pub(super) fn model(&self) -> Model {
        let mut model = Model::new(JsonCodec::default(), self.log.incarnation());
        for (partition, _) in self.log.ends().iter() {
            self.log.records(partition).iter().for_each(|record| model.feed(partition, record));
        }
        model
    }

    /// Fails unless history, journal and counters agree with the model.
    pub(super) async fn check(&self) {
        let model = self.model();
        assert_eq!(model.compare_queries(&*self.history).await.unwrap(), [] as [String; 0]);
        assert_eq!(model.compare_journal(&*self.history).await.unwrap(), [] as [String; 0]);
        self.check_counters(&model).await;
    }

    pub(super) async fn check_counters(&self, model: &Model) {
        let now = Timestamp::from_millis(1_735_776_000_000);
        let differences = model.compare_counters(&*self.counters, &Trending::default(), now).await.unwrap();
        assert_eq!(differences, [] as [String; 0]);
    }

    /// The committed position of `partition`.
    pub(super) async fn position(&self, partition: u32) -> u64 {
        self.history.claimed(Partition(partition)).await.unwrap().position
    }
}

impl Running {
    pub(super) fn start(pipeline: PipelineBuilder) -> Self {
        let pipeline = pipeline.build();
        let shutdown = CancellationToken::new();
        let handle = pipeline.handle();
        let task = tokio::spawn(pipeline.run(shutdown.clone()));
        Running { handle, shutdown, task }
    }

    /// Stops gracefully.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Stops as a crash does: it finishes nothing.
    pub(super) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Waits until it ends by itself, and returns its result.
    pub(super) async fn ended(self) -> Result<()> {
        self.task.await.unwrap()
    }
}

/// Waits until `reached` returns true. Panics after a long time.
pub(super) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    for _ in 0..10_000 {
        if reached().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never came about: {what}");
}
