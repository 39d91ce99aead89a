//! Builds the gateway from Kafka, PostgreSQL and Redis, and runs it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::ByOwnership;
use feedkit_core::{Error, ErrorKind, Result, Supervisor, SystemClock, TokenVerifier};
use feedkit_http::{Gateway, Parts};
use feedkit_kafka::{SourceOptions, admin};
use feedkit_server::gateway::{self as front, verifier};
use feedkit_server::{Signals, bind, output};
use feedkit_store::postgres::Postgres;
use feedkit_store::redis::Redis;

use crate::breaker::Breaker;
use crate::health::Services;
use crate::keys::UrlJwks;
use crate::limits::limits;
use crate::settings::Settings;
use crate::visibility::Reached;

/// The application name of the gateway's connections to PostgreSQL.
const NAME: &str = "feedkit-gateway";

/// How often idle keys are removed from the limiters.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How long the last events and the other parts may take to stop, after the clients.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// How long the start waits for PostgreSQL, which writes do not need.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Serves until a signal arrives.
pub async fn run(only_check: bool, settings: Settings) -> Result<ExitCode> {
    let tokens = Arc::new(verifier(&settings.jwt, settings.jwt.secret.as_ref(), |url| {
        Ok(Arc::new(UrlJwks::new(url)?))
    })?);
    let (events, notifications) = (settings.services.events()?, settings.services.notifications()?);
    let postgres = settings.services.lazy_postgres(NAME).map_err(|error| error.context("PostgreSQL"))?;
    let redis = settings.services.redis()?;
    if only_check {
        for kafka in [&events, &notifications] {
            admin::partitions(kafka).await.map_err(|error| error.context("Kafka"))?;
        }
        postgres.ping().await.map_err(|error| error.context("PostgreSQL"))?;
        redis.check().await.map_err(|error| error.context("Redis"))?;
        tokens.load().await?;
        output::line("the settings are valid; Kafka, PostgreSQL and Redis answer")?;
        return Ok(ExitCode::SUCCESS);
    }
    let signals = Signals::listen()?;
    let listener = bind(settings.front.listen).await?;
    let address =
        listener.local_addr().map_err(|e| Error::fatal(format!("the listener has no address: {e}")))?;
    first_look(&postgres, &redis).await?;

    let (limits, forgetful) = limits(&redis, settings.front.rate_limit, settings.limit_locally)?;
    let health = Services::default();
    let sink = Arc::new(events.sink(settings.sink())?);
    let reached = Reached::new(events.clone(), postgres.clone(), redis.counters());
    let open_notifications = move || {
        let kafka = notifications.clone();
        async move { kafka.broadcast(SourceOptions::default()) }
    };
    let parts = Parts {
        sink: Arc::new(Breaker::new(sink.clone(), health.clone())),
        queries: Arc::new(postgres.history()),
        counters: Some(Arc::new(redis.counters())),
        cache: Arc::new(redis.cache()),
        alerts: Arc::new(postgres.alert_log()),
        notifications: Arc::new(open_notifications),
        visibility: Arc::new(reached.clone()),
        tokens: tokens as Arc<dyn TokenVerifier>,
        authorizer: Arc::new(ByOwnership),
        limits,
        health: Arc::new(health.clone()),
        clock: Arc::new(SystemClock),
        metrics: prometheus::Registry::new(),
    };
    let gateway =
        Gateway::new(parts, front::settings(&settings.gateway, &settings.live, settings.events.clone()));

    let times = &settings.gateway;
    let stopped_within = times.drain + times.shutdown_deadline + STOPPED_WITHIN;
    let (stores, stop) = ((postgres.clone(), redis), signals.stop().clone());
    let supervisor = Supervisor::builder()
        .part("gateway", |stop| gateway.run(listener, stop))
        .part("health checks", move |stop| async move {
            health.watch(&sink, &stores.0, &stores.1, stop).await;
            Ok(())
        })
        .part("visibility", |stop| async move {
            reached.run(stop).await;
            Ok(())
        })
        .part("limits", |stop| async move {
            while tokio::time::timeout(FORGET_EVERY, stop.cancelled()).await.is_err() {
                forgetful.forget_idle();
            }
            Ok(())
        })
        .drain(stopped_within)
        .build();
    tracing::info!("listening on http://{address}");
    let served = supervisor.run(stop).await;
    postgres.close();
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the start on errors that cannot pass, such as an invalid URL or a Redis that evicts keys.
async fn first_look(postgres: &Postgres, redis: &Redis) -> Result<()> {
    let postgres = tokio::time::timeout(FIRST_LOOK, postgres.ping());
    let (postgres, redis) = tokio::join!(postgres, redis.check());
    match postgres {
        Ok(Err(error)) if error.kind() == ErrorKind::Invalid => return Err(error.context("PostgreSQL")),
        Ok(Err(error)) => tracing::warn!(%error, "PostgreSQL is away"),
        // PostgreSQL is connected, or still connecting.
        Ok(Ok(())) | Err(_) => {}
    }
    match redis {
        Err(error) if error.is_retriable() => tracing::warn!(%error, "Redis is away"),
        other => other.map_err(|error| error.context("Redis"))?,
    }
    Ok(())
}
