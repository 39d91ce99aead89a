//! Running, and catching up.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feedkit_core::follower::FollowerPosition;
use feedkit_core::pipeline::PipelineHandle;
use feedkit_core::source::{Resume, check_resume};
use feedkit_core::{CounterStore, Error, Follower, History, Positions, Result};
use feedkit_server::{Signals, bind, output};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::assembly::{Processor, Stores, topics};
use crate::cli::Run;
use crate::config::Config;
use crate::metrics::Snapshot;
use crate::probes;

/// How often it is asked whether everything has caught up.
const LOOK: Duration = Duration::from_millis(20);

/// Runs until a signal comes, something fails for good, or all is caught up with.
pub async fn run(args: &Run, config: &Config) -> Result<ExitCode> {
    if args.check {
        return check(config).await;
    }
    let signals = Signals::listen()?;
    let listener = bind(config.general.listen).await?;
    let stores = match Stores::open(config, signals.stop()).await {
        // Asked to stop before it was there: that is done, too.
        Err(_) if signals.stop().is_cancelled() && !args.until_caught_up => return Ok(ExitCode::SUCCESS),
        stores => stores?,
    };
    let begun = Begun { started: Instant::now(), positions: stores.postgres.history().positions().await? };
    let target = if args.until_caught_up { Some(ends(&stores).await?) } else { None };
    let mut processor = Processor::start(config, &stores)?;
    let address = listener.local_addr().unwrap_or(config.general.listen);
    tracing::info!("running; health and metrics on http://{address}");
    let pipeline = processor.pipeline.clone();
    let probing = CancellationToken::new();
    let answering = answer(listener, &processor, probing.clone());
    let working = async {
        // Also when it fails: then the answers end.
        let _done = probing.drop_guard();
        let outcome = tokio::select! {
            () = signals.stop().cancelled() => match args.until_caught_up {
                true => Err(Error::fatal("stopped before all was caught up with")),
                false => Ok(None),
            },
            error = processor.fails() => Err(error),
            caught = caught_up(&stores, &pipeline, target.as_ref()) => caught.map(Some),
        };
        let took = begun.started.elapsed();
        let stopped = processor.stop(config.general.shutdown_deadline).await;
        let caught = outcome?;
        stopped.map(|()| caught.map(|ends| (ends, took)))
    };
    let (answered, worked) = tokio::join!(answering, working);
    if let Some((ends, took)) = worked? {
        begun.report(&ends, took, args.json)?;
    }
    answered.map(|()| ExitCode::SUCCESS)
}

/// Where this run began.
struct Begun {
    started: Instant,
    positions: Positions,
}

impl Begun {
    fn report(&self, ends: &Positions, took: Duration, as_json: bool) -> Result<()> {
        let events: u64 = ends.iter().map(|(p, end)| end.saturating_sub(self.positions.of(p))).sum();
        let seconds = took.as_secs_f64();
        let rate = events as f64 / seconds.max(1e-9);
        match as_json {
            true => output::json(&json!({ "events": events, "seconds": seconds, "eventsPerSecond": rate })),
            false => output::line(&format!("{events} events in {seconds:.1} s, {rate:.0} a second")),
        }
    }
}

/// Where the log ends now. A position in a log that lost records says nothing about how far it was
/// read.
async fn ends(stores: &Stores) -> Result<Positions> {
    let history = stores.postgres.history();
    let (log, held) = stores.events.held().await?;
    for (partition, held) in &held {
        let claim = history.claimed(*partition).await?;
        let resume = Resume { offset: claim.position, log: claim.log, last: None };
        check_resume(*partition, &resume, log, held.clone(), None).map_err(|gap| {
            Error::gap(format!("{gap}; see `feedkit-processor accept-gap`")).with_source(gap)
        })?;
    }
    Ok(held.into_iter().map(|(partition, held)| (partition, held.end)).collect())
}

/// Settings, services, topics.
async fn check(config: &Config) -> Result<ExitCode> {
    topics(&config.services.events()?, &config.services.notifications()?)
        .await
        .map_err(|error| error.context("Kafka"))?;
    super::postgres(config).await?;
    config.services.redis()?.check().await.map_err(|error| error.context("Redis"))?;
    output::line("the settings are valid; Kafka, PostgreSQL and Redis answer")?;
    Ok(ExitCode::SUCCESS)
}

fn answer(
    listener: TcpListener,
    processor: &Processor,
    stop: CancellationToken,
) -> impl Future<Output = Result<()>> + use<> {
    let (pipeline, source) = (processor.pipeline.clone(), processor.source.clone());
    let (signals, postgres) = (processor.signals.clone(), processor.postgres.clone());
    let look = move || Snapshot {
        pipeline: pipeline.status(),
        source: source.stats(),
        holds_lease: signals.lease().is_some(),
        connections: postgres.connections(),
    };
    probes::serve(listener, Arc::new(look), stop)
}

/// Waits until the history and all followers have come to `target`, whichever process has brought
/// them there; for ever without one.
async fn caught_up(
    stores: &Stores,
    pipeline: &PipelineHandle,
    target: Option<&Positions>,
) -> Result<Positions> {
    let Some(target) = target else { return std::future::pending().await };
    loop {
        let status = pipeline.status();
        let stopped = status.troubles().into_iter().find(|trouble| trouble.contains("stopped"));
        if let Some(trouble) = stopped {
            return Err(Error::fatal(trouble));
        }
        match is_caught_up(stores, pipeline, target).await {
            Ok(true) => return Ok(target.clone()),
            Ok(false) => {}
            Err(error) if error.is_retriable() => tracing::warn!(%error, "cannot tell yet how far it is"),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn is_caught_up(stores: &Stores, pipeline: &PipelineHandle, target: &Positions) -> Result<bool> {
    if !pipeline.status().has_reached(target) && !stores.postgres.history().positions().await?.covers(target)
    {
        return Ok(false);
    }
    // Another process may run the alerts, or have died doing so.
    if !stores.postgres.alert_log().positions().await?.covers(target) {
        return Ok(false);
    }
    let (counters, rollups) = (stores.redis.counters(), stores.postgres.rollups());
    for (partition, end) in target.iter().filter(|(_, end)| *end > 0) {
        if counters.fence(partition).await?.is_none_or(|fence| fence.position < end) {
            return Ok(false);
        }
        if !matches!(rollups.position(partition).await?, FollowerPosition::At(at) if at >= end) {
            return Ok(false);
        }
    }
    Ok(true)
}
