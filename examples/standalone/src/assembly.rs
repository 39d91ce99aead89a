//! The parts of the pipeline on one directory, with no service running.

use std::sync::Arc;
use std::time::Duration;

use feedkit_alerts::{AlertFollower, AlertOptions, Relay};
use feedkit_core::pipeline::{PipelineHandle, PipelineStatus, Stopped};
use feedkit_core::source::{OpenSource, Resume, check_resume};
use feedkit_core::supervisor::Part;
use feedkit_core::{Clock, Error, History, JsonCodec, Outbox, Pipeline, Result, SystemClock};
use feedkit_store::sqlite::{
    NOTIFICATIONS, SourceOptions, Sqlite, SqliteAlertLog, SqliteLog, SqliteOptions, SqliteSink, USER_ACTIONS,
};
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// How often retention looks.
const RETENTION_EVERY: Duration = Duration::from_secs(600);

/// How long a shutdown waits for commits, and then for followers. The next start settles a commit
/// that is cut off.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

/// How long the whole pipeline may take to stop: more than it allows itself.
const PIPELINE_DEADLINE: Duration = Duration::from_secs(3 * SHUTDOWN_DEADLINE.as_secs());

/// How long a shutdown waits until notifications are published. The next start publishes the rest.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(5);

/// Maximum records in one commit. Four partitions commit together: one transaction should not hold
/// more.
const MAX_BATCH: usize = 16_000;

/// The name of the part that publishes notifications.
pub const RELAY: &str = "relay";

/// An open directory, and the parts that will work on it.
pub struct Assembly {
    pub store: Sqlite,
    pub pipeline: PipelineHandle,
    runs: Pipeline,
    relay: Relay<SqliteAlertLog, SqliteSink>,
    keep_log: Duration,
}

impl Assembly {
    /// Opens the directory. Nothing runs yet.
    pub async fn open(config: &Config) -> Result<Assembly> {
        let clock = Arc::new(SystemClock);
        let store = Sqlite::open(&config.data, SqliteOptions::default(), clock.clone()).await?;
        let history = Arc::new(store.history());
        check_log(&store).await.map_err(|e| e.context(config.data.display()))?;

        let rules = config.pipeline.rules.rule_set()?;
        // The directory is locked, so no other process works here and the follower waits for none.
        let mut options = AlertOptions::default();
        options.owner = "feedkit".to_owned();
        let alerts = AlertFollower::new(store.alert_log(), history.clone(), rules, clock.clone(), options)?;
        let sink = store.log().sink(NOTIFICATIONS)?;
        let relay =
            Relay::new(store.alert_log(), sink, open_notifications(store.log().clone()), alerts.signals());

        let mut reading = SourceOptions::default();
        reading.max_records = MAX_BATCH;
        let source = store.log().member(USER_ACTIONS, "feedkit", reading).await?;
        let runs = Pipeline::builder(source, history)
            .codec(JsonCodec::new(config.pipeline.event_policy()))
            .follower(alerts)
            .configure(|c| {
                c.max_batch = MAX_BATCH;
                c.feed_effects = 20_000;
                c.retention = Some((config.pipeline.retention(), RETENTION_EVERY));
                c.shutdown_deadline = SHUTDOWN_DEADLINE;
            })
            .build();
        Ok(Assembly { store, pipeline: runs.handle(), runs, relay, keep_log: config.keep_log() })
    }

    /// The parts, in the order in which they are stopped. The pipeline is stopped after
    /// notifications are published, or after `patience`, or when `hurry` is cancelled.
    pub fn parts(self, patience: Duration, hurry: CancellationToken) -> [Part; 4] {
        let Assembly { store, pipeline, runs, mut relay, keep_log } = self;
        let idle = relay.idle();
        let published = async move { hurry.run_until_cancelled(idle).await.unwrap_or(Ok(())) };
        [
            Part::new("partitions", |stop| watch(pipeline, stop)),
            Part::new("pipeline", |stop| runs.run(stop))
                .deadline(PIPELINE_DEADLINE)
                .stop_after(published, patience),
            Part::new(RELAY, |stop| async move { relay.run(stop).await }),
            Part::new("trimming", move |stop| trim(store, keep_log, stop)),
        ]
    }
}

/// Opens readers of the notifications topic.
pub fn open_notifications(log: SqliteLog) -> impl OpenSource {
    move || {
        let log = log.clone();
        async move { log.broadcast(NOTIFICATIONS, SourceOptions::default()).await }
    }
}

/// Fails when a partition has stopped. Nobody else would go on with it: the program ends, so that a
/// person looks.
async fn watch(mut pipeline: PipelineHandle, stop: CancellationToken) -> Result<()> {
    loop {
        none_stopped(&pipeline.status())?;
        tokio::select! {
            true = pipeline.changed() => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Fails when a partition has stopped, whatever its offset: that may be an offset of another log.
pub fn none_stopped(status: &PipelineStatus) -> Result<()> {
    let partition = |stopped: &Stopped| matches!(stopped, Stopped::Partition(..));
    status.stopped().into_iter().find(partition).map_or(Ok(()), |stopped| Err(stopped.into()))
}

/// Drops records of both topics that are older than `keep` and were read, until `stop`.
async fn trim(store: Sqlite, keep: Duration, stop: CancellationToken) -> Result<()> {
    loop {
        if let Err(error) = trim_once(&store, keep).await {
            tracing::warn!(%error, "the log cannot be trimmed, trying again later");
        }
        tokio::select! {
            () = tokio::time::sleep(RETENTION_EVERY) => {}
            () = stop.cancelled() => return Ok(()),
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

/// Fails when the log is not the one that the history was made from, or has lost its end: new
/// events would get offsets that count as read. Checked before anything is written, so that a
/// person can still put the right log back.
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
                     accepted. Put the right log.db back, or move state.db away: then feedkit counts everything in this \
                     log anew"
                ))
            },
        )?;
    }
    Ok(())
}
