//! The pipeline, put together from Kafka, PostgreSQL and Redis.

use std::sync::Arc;
use std::time::Duration;

use feedkit_alerts::{AlertFollower, AlertOptions, Relay, Signals};
use feedkit_core::pipeline::{CounterFollower, PipelineHandle};
use feedkit_core::trending::Trending;
use feedkit_core::{Error, JsonCodec, Outbox, Pipeline, Result, SystemClock};
use feedkit_kafka::{Kafka, SinkOptions, SourceHandle, SourceOptions, admin};
use feedkit_server::patiently;
use feedkit_store::postgres::Postgres;
use feedkit_store::redis::Redis;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// How often retention looks.
const RETENTION_EVERY: Duration = Duration::from_secs(600);

/// The name in PostgreSQL's list of connections.
pub const NAME: &str = "feedkit-processor";

/// The services, reached.
pub struct Stores {
    pub events: Kafka,
    pub notifications: Kafka,
    pub postgres: Postgres,
    pub redis: Redis,
}

impl Stores {
    /// Waits for Kafka and PostgreSQL, and looks at Redis, which may come later.
    pub async fn open(config: &Config, stop: &CancellationToken) -> Result<Stores> {
        let (events, notifications) = (config.services.events()?, config.services.notifications()?);
        // Settings that cannot be are told before anything is waited for.
        let redis = config.services.redis()?;
        let postgres = patiently("PostgreSQL", stop, async || config.services.postgres(NAME).await).await?;
        patiently("Kafka", stop, async || topics(&events, &notifications).await).await?;
        match redis.check().await {
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "Redis is away: counts follow when it comes");
            }
            other => other.map_err(|e| e.context("Redis"))?,
        }
        Ok(Stores { events, notifications, postgres, redis })
    }
}

/// Fails for good when a topic is missing: nobody makes it while we wait.
pub async fn topics(events: &Kafka, notifications: &Kafka) -> Result<()> {
    for kafka in [events, notifications] {
        if !admin::exists(kafka).await? {
            return Err(Error::fatal(format!(
                "there is no topic {}; `feedkit-processor create-topics` makes it",
                kafka.topic
            )));
        }
    }
    Ok(())
}

/// Everything, running.
pub struct Processor {
    pub pipeline: PipelineHandle,
    pub source: SourceHandle,
    pub signals: Signals,
    pub postgres: Postgres,
    shutdown: CancellationToken,
    running: JoinHandle<Result<()>>,
    relaying: JoinHandle<Result<()>>,
    telling: JoinHandle<()>,
}

impl Processor {
    /// Starts the pipeline.
    pub fn start(config: &Config, stores: &Stores) -> Result<Processor> {
        let clock = Arc::new(SystemClock);
        let history = Arc::new(stores.postgres.history());
        let rules = config.pipeline.rules.rule_set()?;
        let alert_log = stores.postgres.alert_log();
        let alerts = AlertFollower::new(
            alert_log.clone(),
            history.clone(),
            rules,
            clock.clone(),
            AlertOptions { lease_ttl: config.alerts.lease, ..AlertOptions::default() },
        )?;
        let signals = alerts.signals();
        let notifications = stores.notifications.clone();
        let open = move || {
            let kafka = notifications.clone();
            async move { kafka.broadcast(SourceOptions::default()) }
        };
        let mut sending = SinkOptions::default();
        // Few records, each waited for.
        sending.linger = Duration::ZERO;
        let mut relay = Relay::new(alert_log, stores.notifications.sink(sending)?, open, signals.clone());

        let counters =
            CounterFollower::new("counters", stores.redis.counters(), history.clone(), Trending::default());
        let source = stores.events.member(&config.group.name, config.source())?;
        let source_handle = source.handle();
        let pipeline = Pipeline::builder(source, history)
            .codec(JsonCodec::new(config.pipeline.event_policy()))
            .follower(counters)
            .follower(stores.postgres.rollups())
            .follower(alerts)
            .configure(|c| {
                c.group.clone_from(&config.group.name);
                c.max_batch = config.group.max_batch;
                c.max_commits = config.group.max_commits;
                // What finds no room is read from the journal: memory is worth more here.
                c.feed_effects = config.group.max_batch.div_ceil(2);
                c.partitions_may_grow = true;
                c.retention = Some((config.pipeline.retention(), RETENTION_EVERY));
                c.shutdown_deadline = config.general.shutdown_deadline / 3;
            })
            .build();
        let handle = pipeline.handle();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(pipeline.run(shutdown.clone()));
        let stop = shutdown.clone();
        let relaying = tokio::spawn(async move { relay.run(stop).await });
        let telling = tokio::spawn(tell(stores.postgres.clone(), handle.clone(), shutdown.clone()));
        Ok(Processor {
            pipeline: handle,
            source: source_handle,
            signals,
            postgres: stores.postgres.clone(),
            shutdown,
            running,
            relaying,
            telling,
        })
    }

    /// Waits for a part to fail for good. One partition that stops ends nothing: the others go on.
    pub async fn fails(&mut self) -> Error {
        let why = |what: &str, ended: Result<Result<()>, tokio::task::JoinError>| match ended {
            Ok(Ok(())) => Error::fatal(format!("{what} has ended")),
            Ok(Err(error)) => error.context(what),
            Err(error) => Error::fatal(format!("{what} failed: {error}")),
        };
        tokio::select! {
            biased;
            ended = &mut self.running => why("the pipeline", ended),
            ended = &mut self.relaying => why("the relay", ended),
        }
    }

    /// Stops in good order, within `deadline`: what was raised is published if that is quick.
    pub async fn stop(self, deadline: Duration) -> Result<()> {
        let drained = async {
            while self.signals.lease().is_some()
                && !self.relaying.is_finished()
                && !self.postgres.alert_log().outbox(1).await?.is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, Error>(())
        };
        if let Ok(Err(error)) = tokio::time::timeout(deadline / 3, drained).await {
            tracing::warn!(%error, "notifications are published at the next start");
        }
        self.shutdown.cancel();
        let ended = |result: Result<Result<()>, tokio::task::JoinError>| match result {
            Ok(outcome) => outcome,
            Err(error) => Err(Error::fatal(format!("a task failed: {error}"))),
        };
        let all = async {
            let pipeline = if self.running.is_finished() { Ok(()) } else { ended(self.running.await) };
            let relay = if self.relaying.is_finished() { Ok(()) } else { ended(self.relaying.await) };
            let told = self.telling.await.map_err(|e| Error::fatal(format!("a task failed: {e}")));
            pipeline.and(relay).and(told)
        };
        let outcome = tokio::time::timeout(deadline, all).await;
        self.postgres.close();
        outcome.unwrap_or_else(|_| {
            Err(Error::uncertain(format!(
                "the processor had to be cut off after {deadline:?}; nothing is lost"
            )))
        })
    }
}

/// Tells other processors of commits, and this one's alerts of theirs.
async fn tell(postgres: Postgres, pipeline: PipelineHandle, stop: CancellationToken) {
    let notifier = postgres.notifier();
    let mut commits = notifier.commits();
    let hear = async {
        loop {
            commits.changed().await;
            pipeline.look();
        }
    };
    tokio::select! {
        () = notifier.run(stop) => {}
        () = hear => {}
    }
}
