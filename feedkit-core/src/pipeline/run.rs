//! Putting a pipeline together, and running it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::dispatch::dispatch;
use super::drive::Driver;
use super::feed::Feed;
use super::retry::Backoff;
use super::status::{PipelineHandle, PipelineStatus};
use super::worker::Shared;
use crate::follower::Scope;
use crate::history::RetentionPolicy;
use crate::{Clock, Codec, EventSource, Follower, History, JsonCodec, Result, SystemClock};

/// A pipeline's settings. The defaults suit two cores.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PipelineConfig {
    /// The consumer group; a history belongs to one.
    pub group: String,
    /// Most records in one commit; a batch that the source yields larger is not split.
    pub max_batch: usize,
    /// Commits under way at once, over all partitions, from decoding to the history's answer; at least one. What
    /// comes meanwhile waits as it was read, and goes into one commit then. More than the history can work on side by
    /// side only take memory; with too few it is idle while they wait for its disk or the network.
    pub max_commits: usize,
    /// Whether the log may get more partitions later. Keys move then, and to keep each key's order a new partition
    /// waits until the others have been read past their ends as of when its first record was read. The others are those
    /// that anything was committed from when it was claimed, or, if it had no record then, when its first was read.
    pub partitions_may_grow: bool,
    /// About so many effects are kept in memory for each follower and partition.
    pub feed_effects: usize,
    /// How failed calls are repeated.
    pub backoff: Backoff,
    /// How long a shutdown waits for commits and followers.
    pub shutdown_deadline: Duration,
    /// What the history drops, and how often it looks; `None` keeps everything.
    pub retention: Option<(RetentionPolicy, Duration)>,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        PipelineConfig {
            group: "feedkit".to_owned(),
            max_batch: 20_000,
            max_commits: 16,
            partitions_may_grow: false,
            feed_effects: 40_000,
            backoff: Backoff::default(),
            shutdown_deadline: Duration::from_secs(10),
            retention: None,
        }
    }
}

/// Reads a source, commits to a history, feeds followers.
///
/// ```
/// use std::sync::Arc;
/// use feedkit_core::memory::{MemoryHistory, MemoryLog};
/// use feedkit_core::sink::{EventSink, NewRecord};
/// use feedkit_core::{Pipeline, Queries, PostId, SystemClock};
/// use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> feedkit_core::Result<()> {
/// let log = MemoryLog::new(4, Arc::new(SystemClock));
/// let history = Arc::new(MemoryHistory::new());
/// let pipeline = Pipeline::builder(log.reader("feedkit"), history.clone()).build();
/// let handle = pipeline.handle();
/// let shutdown = CancellationToken::new();
/// let running = tokio::spawn(pipeline.run(shutdown.clone()));
///
/// let like = r#"{"userId":"u1","postId":"p9","type":"like"}"#;
/// let at = log.send(vec![NewRecord::keyed("u1", like.into())]).await.remove(0)?;
/// handle.reached(&[(at.partition, at.offset)].into_iter().collect()).await?;
/// assert_eq!(history.post(&PostId::new("p9").unwrap()).await?.unwrap().likes, 1);
///
/// shutdown.cancel();
/// running.await.unwrap()
/// # }
/// ```
pub struct Pipeline {
    source: Box<dyn EventSource>,
    followers: Vec<Arc<dyn Follower>>,
    shared: Shared,
}

impl Pipeline {
    /// Begins with what every pipeline has.
    pub fn builder(source: impl EventSource + 'static, history: Arc<dyn History>) -> PipelineBuilder {
        PipelineBuilder {
            source: Box::new(source),
            history,
            codec: Arc::new(JsonCodec::default()),
            clock: Arc::new(SystemClock),
            followers: Vec::new(),
            config: PipelineConfig::default(),
        }
    }

    /// A view of the pipeline's state, to be kept while it runs.
    pub fn handle(&self) -> PipelineHandle {
        PipelineHandle { status: self.shared.status.subscribe(), feeds: self.shared.feeds.clone() }
    }

    /// Runs until `shutdown` is cancelled: then stops reading, finishes the commits under way, lets the followers
    /// catch up with them and closes those, all within the deadline.
    ///
    /// # Errors
    ///
    /// When it cannot go on: the source has ended, or the history fails for good. A partition that stops alone
    /// (a gap in the log, claimed by another) and a follower that stops are shown in the status and end nothing.
    ///
    /// # Cancellation
    ///
    /// Dropping the future is like a crash: everything is found again from the stored positions.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let shared = Arc::new(self.shared);
        let deadline = shared.config.shutdown_deadline;
        let followers_stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let known = shared.history.positions().await.unwrap_or_default();
        for (follower, feed) in self.followers.into_iter().zip(&shared.feeds) {
            if follower.scope() == Scope::All {
                feed.history_stands_at(&known);
                feed.wake();
            }
            let driver = Driver {
                follower,
                history: shared.history.clone(),
                feed: feed.clone(),
                backoff: shared.config.backoff,
                status: shared.status.clone(),
            };
            tasks.spawn(driver.run(followers_stop.child_token()));
        }
        if let Some((policy, every)) = shared.config.retention.clone() {
            tasks.spawn(retain(shared.clone(), policy, every, followers_stop.child_token()));
        }
        let outcome = dispatch(&mut *self.source, &shared, &shutdown).await;
        // The source leaves its group now, so that others can take over while the followers finish.
        drop(self.source);
        followers_stop.cancel();
        let joined =
            tokio::time::timeout(deadline, async { while tasks.join_next().await.is_some() {} }).await;
        if joined.is_err() {
            tracing::warn!(
                "a follower does not end in time; it will go on from its position at the next start"
            );
            tasks.shutdown().await;
        }
        shared.status.send_modify(|status| status.ended = true);
        outcome
    }
}

async fn retain(shared: Arc<Shared>, policy: RetentionPolicy, every: Duration, stop: CancellationToken) {
    // At a start the followers have not said yet that they are there, and may need the journal to recover.
    let forever = Duration::MAX;
    let mut patient = RetentionPolicy { follower_silence: forever, journal: forever, ..policy.clone() };
    loop {
        match shared.history.retain(&patient, shared.clock.now()).await {
            Ok(dropped) => tracing::debug!(?dropped, "retention"),
            Err(error) => tracing::warn!(%error, "retention fails, trying again later"),
        }
        patient.clone_from(&policy);
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Puts a pipeline together.
pub struct PipelineBuilder {
    source: Box<dyn EventSource>,
    history: Arc<dyn History>,
    codec: Arc<dyn Codec>,
    clock: Arc<dyn Clock>,
    followers: Vec<Arc<dyn Follower>>,
    config: PipelineConfig,
}

impl PipelineBuilder {
    /// Adds a follower. Two of the same name are refused when it is built.
    pub fn follower(mut self, follower: impl Follower) -> Self {
        self.followers.push(Arc::new(follower));
        self
    }

    /// Reads records with `codec` instead of a plain [`JsonCodec`].
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.codec = Arc::new(codec);
        self
    }

    /// Takes the time from `clock` instead of the system.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Changes the settings.
    pub fn configure(mut self, change: impl FnOnce(&mut PipelineConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// The pipeline, ready to run.
    ///
    /// # Panics
    ///
    /// When two followers have one name: their positions could not be told apart.
    pub fn build(self) -> Pipeline {
        let mut status = PipelineStatus::default();
        for follower in &self.followers {
            let twice = status.followers.insert(follower.name().to_owned(), Default::default()).is_some();
            assert!(!twice, "two followers are named {:?}", follower.name());
        }
        let feeds = self.followers.iter().map(|_| Arc::new(Feed::new(self.config.feed_effects))).collect();
        let (status, _) = watch::channel(status);
        let shared = Shared {
            history: self.history,
            codec: self.codec,
            clock: self.clock,
            commits: Semaphore::new(self.config.max_commits.clamp(1, Semaphore::MAX_PERMITS)),
            config: self.config,
            feeds,
            status,
        };
        Pipeline { source: self.source, followers: self.followers, shared }
    }
}
