//! The parts of a processor, on Kafka, PostgreSQL and Redis.

use std::sync::Arc;
use std::time::Duration;

use feedkit_alerts::{AlertFollower, AlertOptions, Relay, Signals};
use feedkit_core::pipeline::{CounterFollower, PipelineHandle};
use feedkit_core::supervisor::Part;
use feedkit_core::trending::Trending;
use feedkit_core::{Error, JsonCodec, Pipeline, Result, SystemClock};
use feedkit_kafka::{Kafka, SinkOptions, SourceHandle, SourceOptions, admin};
use feedkit_server::patiently;
use feedkit_store::postgres::Postgres;
use feedkit_store::redis::Redis;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// How often retention looks.
const RETENTION_EVERY: Duration = Duration::from_secs(600);

/// The name in PostgreSQL's list of connections.
pub const NAME: &str = "feedkit-processor";

/// The services, connected.
pub struct Stores {
    pub events: Kafka,
    pub notifications: Kafka,
    pub postgres: Postgres,
    pub redis: Redis,
}

impl Stores {
    /// Waits for Kafka and PostgreSQL, and looks at Redis, which may come later.
    pub async fn open(settings: &Settings, stop: &CancellationToken) -> Result<Stores> {
        let (events, notifications) = (settings.services.events()?, settings.services.notifications()?);
        // Wrong settings are reported before anything is waited for.
        let redis = settings.services.redis()?;
        let postgres = patiently("PostgreSQL", stop, async || settings.services.postgres(NAME).await).await?;
        patiently("Kafka", stop, async || topics(&events, &notifications).await).await?;
        match redis.check().await {
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "Redis is away: counts follow when it is back");
            }
            other => other.map_err(|e| e.context("Redis"))?,
        }
        Ok(Stores { events, notifications, postgres, redis })
    }
}

/// Fails for good when a topic is missing: nobody creates it while the program waits.
pub async fn topics(events: &Kafka, notifications: &Kafka) -> Result<()> {
    for kafka in [events, notifications] {
        if !admin::exists(kafka).await? {
            return Err(Error::fatal(format!(
                "there is no topic {}; `feedkit-processor create-topics` creates it",
                kafka.topic
            )));
        }
    }
    Ok(())
}

/// The parts of a processor, and what can be seen of them from outside.
pub struct Assembly {
    pub pipeline: PipelineHandle,
    pub source: SourceHandle,
    pub signals: Signals,
    /// In the order in which they are stopped.
    pub parts: [Part; 3],
}

/// Puts the pipeline together. Nothing runs yet.
pub fn assemble(settings: &Settings, stores: &Stores) -> Result<Assembly> {
    let clock = Arc::new(SystemClock);
    let history = Arc::new(stores.postgres.history());
    let rules = settings.pipeline.rules.rule_set()?;
    let alert_log = stores.postgres.alert_log();
    let mut options = AlertOptions::default();
    options.lease_ttl = settings.alerts.lease;
    let alerts = AlertFollower::new(alert_log.clone(), history.clone(), rules, clock.clone(), options)?;
    let signals = alerts.signals();
    let notifications = stores.notifications.clone();
    let open = move || {
        let kafka = notifications.clone();
        async move { kafka.broadcast(SourceOptions::default()) }
    };
    let mut sending = SinkOptions::default();
    // The relay sends few records, and waits for each batch.
    sending.linger = Duration::ZERO;
    let mut relay = Relay::new(alert_log, stores.notifications.sink(sending)?, open, signals.clone());

    let counters =
        CounterFollower::new("counters", stores.redis.counters(), history.clone(), Trending::default());
    let source = stores.events.member(&settings.group.name, settings.source())?;
    let source_handle = source.handle();
    let pipeline = Pipeline::builder(source, history)
        .codec(JsonCodec::new(settings.pipeline.event_policy()))
        .follower(counters)
        .follower(stores.postgres.rollups())
        .follower(alerts)
        .configure(|c| {
            c.group.clone_from(&settings.group.name);
            c.max_batch = settings.group.max_batch;
            c.max_commits = settings.group.max_commits;
            // Entries that find no room are read from the journal: memory is worth more here.
            c.feed_effects = settings.group.max_batch.div_ceil(2);
            c.partitions_may_grow = true;
            c.retention = Some((settings.pipeline.retention(), RETENTION_EVERY));
            c.shutdown_deadline = settings.general.shutdown_deadline / 3;
        })
        .build();
    let (handle, postgres) = (pipeline.handle(), stores.postgres.clone());
    let (deadline, published) = (settings.general.shutdown_deadline, relay.idle());
    let parts = [
        Part::new("pipeline", |stop| pipeline.run(stop))
            .deadline(deadline)
            .stop_after(published, deadline / 3),
        Part::new("relay", |stop| async move { relay.run(stop).await }),
        Part::new("commits", {
            let pipeline = handle.clone();
            |stop| tell(postgres, pipeline, stop)
        }),
    ];
    Ok(Assembly { pipeline: handle, source: source_handle, signals, parts })
}

/// Tells other processors about this one's commits, and this one's alert follower about theirs.
async fn tell(postgres: Postgres, pipeline: PipelineHandle, stop: CancellationToken) -> Result<()> {
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
    Ok(())
}
