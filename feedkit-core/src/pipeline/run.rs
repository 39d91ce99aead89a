//! Running a pipeline.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::dispatch::dispatch;
use super::drive::Driver;
use super::handle::PipelineHandle;
use super::report::Report;
use super::shared::Shared;
use crate::follower::Scope;
use crate::history::RetentionPolicy;
use crate::{EventSource, Follower, Result};

/// Reads a source, commits to a history, and feeds followers.
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
///
/// If your program runs more than a pipeline, use a [`Supervisor`](crate::Supervisor).
pub struct Pipeline {
    pub(super) source: Box<dyn EventSource>,
    pub(super) followers: Vec<Arc<dyn Follower>>,
    pub(super) shared: Shared,
}

impl Pipeline {
    /// A view of the pipeline's state, to be kept while it runs.
    pub fn handle(&self) -> PipelineHandle {
        PipelineHandle { status: self.shared.status.subscribe(), feeds: self.shared.feeds.clone() }
    }

    /// Runs until `shutdown` is cancelled. Then it stops reading, finishes the running commits,
    /// lets the followers apply them, and closes the followers. The commits and the followers each
    /// have [`shutdown_deadline`](super::PipelineConfig::shutdown_deadline) for that.
    ///
    /// # Errors
    ///
    /// Fails if the pipeline cannot continue: the source has ended, or the history has failed with
    /// an error that does not pass. The pipeline continues if a follower stops, or a single
    /// partition: because of a gap in the log, or because another process claimed it. The status
    /// shows both.
    ///
    /// # Cancellation
    ///
    /// Dropping the future is like a crash: the next start continues from the stored positions.
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
                report: Report { name: follower.name().to_owned(), status: shared.status.clone() },
                follower,
                history: shared.history.clone(),
                feed: feed.clone(),
                backoff: shared.config.backoff,
            };
            tasks.spawn(driver.run(followers_stop.child_token()));
        }
        if let Some((policy, every)) = shared.config.retention.clone() {
            tasks.spawn(retain(shared.clone(), policy, every, followers_stop.child_token()));
        }
        let outcome = dispatch(&mut *self.source, &shared, &shutdown).await;
        // The source leaves its group now, so that other processes can take over while the
        // followers finish.
        drop(self.source);
        followers_stop.cancel();
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            tracing::warn!("a follower does not end in time; it goes on from its position at the next start");
            tasks.shutdown().await;
        }
        shared.status.send_modify(|status| status.ended = true);
        outcome
    }
}

async fn retain(shared: Arc<Shared>, policy: RetentionPolicy, every: Duration, stop: CancellationToken) {
    // At a start the positions of the followers are not known yet, and they may need the journal to
    // recover.
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
