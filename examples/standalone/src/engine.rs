//! The pipeline, put together from the parts that need no service.

use std::sync::Arc;
use std::time::Duration;

use feedkit_alerts::{AlertFollower, AlertOptions, Relay};
use feedkit_core::pipeline::{PartitionState, PipelineHandle, PipelineStatus};
use feedkit_core::source::{Resume, check_resume};
use feedkit_core::{Clock, Error, History, JsonCodec, Outbox, Pipeline, Positions, Result, SystemClock};
use feedkit_store::sqlite::{NOTIFICATIONS, SourceOptions, Sqlite, SqliteOptions, USER_ACTIONS};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// How often retention looks.
const RETENTION_EVERY: Duration = Duration::from_secs(600);

/// How long a stop waits for a commit; one that is cut off is settled at the next start.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

/// How long a stop should wait for notifications to be published; what is left goes out at the next start.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(5);

/// Four partitions commit together: that is as much as one transaction should hold.
const MAX_BATCH: usize = 16_000;

/// Everything, running.
pub struct Engine {
    pub store: Sqlite,
    pub pipeline: PipelineHandle,
    shutdown: CancellationToken,
    running: JoinHandle<Result<()>>,
    relaying: JoinHandle<Result<()>>,
    trimming: JoinHandle<()>,
}

impl Engine {
    /// Opens the directory and starts the pipeline on it.
    pub async fn start(config: &Config) -> Result<Engine> {
        let clock = Arc::new(SystemClock);
        let store = Sqlite::open(&config.data, SqliteOptions::default(), clock.clone()).await?;
        let history = Arc::new(store.history());
        check_log(&store).await.map_err(|e| e.context(config.data.display()))?;
        let shutdown = CancellationToken::new();

        let rules = config.pipeline.rules.rule_set()?;
        // The directory is locked: no other process can be at work here, and none has to be waited for.
        let options = AlertOptions { owner: "feedkit".to_owned(), ..Default::default() };
        let alerts = AlertFollower::new(store.alert_log(), history.clone(), rules, clock.clone(), options)?;
        let notifications = store.log().clone();
        let open = move || {
            let log = notifications.clone();
            async move { log.broadcast(NOTIFICATIONS, SourceOptions::default()).await }
        };
        let sink = store.log().sink(NOTIFICATIONS)?;
        let mut relay = Relay::new(store.alert_log(), sink, open, alerts.signals());

        let mut reading = SourceOptions::default();
        reading.max_records = MAX_BATCH;
        let source = store.log().member(USER_ACTIONS, "feedkit", reading).await?;
        let pipeline = Pipeline::builder(source, history)
            .codec(JsonCodec::new(config.pipeline.event_policy()))
            .follower(alerts)
            .configure(|c| {
                c.max_batch = MAX_BATCH;
                c.feed_effects = 20_000;
                c.retention = Some((config.pipeline.retention(), RETENTION_EVERY));
                c.shutdown_deadline = SHUTDOWN_DEADLINE;
            })
            .build();
        let handle = pipeline.handle();
        let running = tokio::spawn(pipeline.run(shutdown.clone()));
        let stop = shutdown.clone();
        let relaying = tokio::spawn(async move { relay.run(stop).await });
        let trimming = tokio::spawn(trim(store.clone(), config.keep_log(), shutdown.clone()));
        Ok(Engine { store, pipeline: handle, shutdown, running, relaying, trimming })
    }

    /// Whether notifications are being published.
    pub fn relay(&self) -> tokio::task::AbortHandle {
        self.relaying.abort_handle()
    }

    /// Waits until everything up to `positions` is in the history and with every follower.
    pub async fn reached(&mut self, positions: &Positions) -> Result<()> {
        let pipeline = self.pipeline.clone();
        let reached = tokio::select! {
            reached = pipeline.reached(positions) => reached,
            error = self.fails() => return Err(error),
        };
        match reached {
            Ok(status) => none_stopped(&status),
            // The part that failed knows better why.
            Err(error) => Err(tokio::time::timeout(SHUTDOWN_DEADLINE, self.fails()).await.unwrap_or(error)),
        }
    }

    /// Waits for a part to fail for good: the pipeline, one of its partitions, or the relay.
    pub async fn fails(&mut self) -> Error {
        let mut pipeline = self.pipeline.clone();
        let stopped = async {
            loop {
                if let Err(error) = none_stopped(&pipeline.status()) {
                    return error;
                }
                if !pipeline.changed().await {
                    std::future::pending::<()>().await;
                }
            }
        };
        let why = |what: &str, ended: std::result::Result<Result<()>, tokio::task::JoinError>| match ended {
            Ok(Ok(())) => Error::fatal(format!("{what} has ended")),
            Ok(Err(error)) => error,
            Err(error) => Error::fatal(format!("{what} failed: {error}")),
        };
        tokio::select! {
            biased;
            ended = &mut self.running => why("the pipeline", ended),
            ended = &mut self.relaying => why("the relay", ended),
            error = stopped => error,
        }
    }

    /// Stops in good order and closes the files. Waits for notifications to be published for as long as `patience`.
    pub async fn stop(self, patience: Duration) -> Result<()> {
        let published = tokio::time::timeout(patience, self.all_published()).await;
        self.shutdown.cancel();
        let ended = |result: std::result::Result<Result<()>, tokio::task::JoinError>| match result {
            Ok(outcome) => outcome,
            Err(error) => Err(Error::fatal(format!("a task failed: {error}"))),
        };
        let pipeline = if self.running.is_finished() { Ok(()) } else { ended(self.running.await) };
        let relay = if self.relaying.is_finished() { Ok(()) } else { ended(self.relaying.await) };
        let trimmed = ended(self.trimming.await.map(Ok));
        self.store.close().await;
        pipeline.and(relay).and(trimmed).and(published.unwrap_or(Ok(())))
    }

    /// Waits until the relay has sent out what was raised.
    async fn all_published(&self) -> Result<()> {
        while !self.relaying.is_finished() && !self.store.alert_log().outbox(1).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Drops records of both topics that are older than `keep` and have been read.
async fn trim(store: Sqlite, keep: Duration, stop: CancellationToken) {
    loop {
        if let Err(error) = trim_once(&store, keep).await {
            tracing::warn!(%error, "the log cannot be trimmed, trying again later");
        }
        tokio::select! {
            () = tokio::time::sleep(RETENTION_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn trim_once(store: &Sqlite, keep: Duration) -> Result<()> {
    let before = SystemClock.now().saturating_sub(keep);
    let committed = store.history().positions().await?;
    store.log().retain_since(USER_ACTIONS, before, &committed).await?;
    let published = store.alert_log().published().await?;
    store.log().retain_since(NOTIFICATIONS, before, &published).await?;
    Ok(())
}

/// Fails when the history has counted more than the log holds, or another log: what is taken in now would lie at
/// offsets that count as read. Before anything is written, so that the right log can still be put back.
async fn check_log(store: &Sqlite) -> Result<()> {
    let history = store.history();
    let ends = store.log().ends(USER_ACTIONS).await?;
    for (partition, offset) in history.positions().await?.iter() {
        let claim = history.claimed(partition).await?;
        let resume = Resume { offset, log: claim.log, last: None };
        check_resume(partition, &resume, store.log().incarnation(), 0..ends.of(partition), None).map_err(
            |gap| {
                Error::gap(format!(
                    "log.db is not the log that state.db was made from, or has lost its end ({gap}). No event was \
                     taken in. Put the right log.db back, or move state.db away: then all that is in this log is \
                     counted anew"
                ))
            },
        )?;
    }
    Ok(())
}

/// A partition that has stopped may stand beyond what was waited for, in another log.
fn none_stopped(status: &PipelineStatus) -> Result<()> {
    let stopped = status.partitions.iter().find_map(|(partition, status)| match &status.state {
        PartitionState::Stopped(why) => Some(Error::fatal(format!("partition {partition} stopped: {why}"))),
        _ => None,
    });
    stopped.map_or(Ok(()), Err)
}
