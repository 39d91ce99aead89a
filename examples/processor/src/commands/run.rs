//! Runs the processor, until it is stopped or has caught up.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feedkit_core::follower::FollowerPosition;
use feedkit_core::pipeline::{PipelineHandle, PipelineStatus};
use feedkit_core::source::{Resume, check_resume};
use feedkit_core::{CounterStore, Error, Follower, History, Positions, Result, Supervisor};
use feedkit_server::{Signals, bind, output, patiently};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::assembly::{Assembly, Stores, assemble, topics};
use crate::cli::Run;
use crate::metrics::Snapshot;
use crate::probes;
use crate::settings::Settings;

/// How often `--until-caught-up` looks whether everything has caught up.
const LOOK: Duration = Duration::from_millis(20);

/// Runs until a signal comes, a part fails, or everything has caught up.
pub async fn run(args: &Run, settings: &Settings) -> Result<ExitCode> {
    if args.check {
        return check(settings).await;
    }
    let signals = Signals::listen()?;
    let listener = bind(settings.general.listen).await?;
    let (stores, begun, target) = match begin(args, settings, signals.stop()).await {
        // A signal came while it waited for a service: it has stopped as asked.
        Err(_) if signals.stop().is_cancelled() && !args.until_caught_up => return Ok(ExitCode::SUCCESS),
        begun => begun?,
    };
    let Assembly { pipeline, source, signals: alerts, parts } = assemble(settings, &stores)?;
    let address = listener.local_addr().unwrap_or(settings.general.listen);
    let look = {
        let (pipeline, postgres) = (pipeline.clone(), stores.postgres.clone());
        move || Snapshot {
            pipeline: pipeline.status(),
            source: source.stats(),
            holds_lease: alerts.lease().is_some(),
            connections: postgres.connections(),
        }
    };
    let deadline = settings.general.shutdown_deadline;
    let supervisor = Supervisor::builder()
        .with_parts(parts)
        // Stopped last: health and metrics show how the other parts stop.
        .part("probes", |stop| probes::serve(listener, Arc::new(look), stop))
        .drain(deadline + deadline / 3)
        .build();
    tracing::info!("running; health and metrics on http://{address}");
    let ended = supervisor.run_until(async {
        tokio::select! {
            () = signals.stop().cancelled() => match args.until_caught_up {
                true => Err(Error::fatal("stopped before everything had caught up")),
                false => Ok(None),
            },
            caught = caught_up(&stores, &pipeline, target.as_ref()) => {
                caught.map(|ends| Some((ends, begun.started.elapsed())))
            }
        }
    });
    let ended = ended.await;
    stores.postgres.close();
    if let Some((ends, took)) = ended?? {
        begun.report(&ends, took, args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the services, and looks where this run begins, and where it is to end. A service may go
/// away at any moment.
async fn begin(
    args: &Run,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<(Stores, Begun, Option<Positions>)> {
    let stores = Stores::open(settings, stop).await?;
    let started = Instant::now();
    let history = stores.postgres.history();
    let positions = patiently("PostgreSQL", stop, async || history.positions().await).await?;
    let target = match args.until_caught_up {
        true => Some(patiently("Kafka and PostgreSQL", stop, async || ends(&stores).await).await?),
        false => None,
    };
    Ok((stores, Begun { started, positions }, target))
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
async fn check(settings: &Settings) -> Result<ExitCode> {
    topics(&settings.services.events()?, &settings.services.notifications()?)
        .await
        .map_err(|error| error.context("Kafka"))?;
    super::postgres(settings).await?;
    settings.services.redis()?.check().await.map_err(|error| error.context("Redis"))?;
    output::line("the settings are valid; Kafka, PostgreSQL and Redis answer")?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until the history and all followers have come to `target`, whichever process brought them
/// there. Without a target it waits forever.
async fn caught_up(
    stores: &Stores,
    pipeline: &PipelineHandle,
    target: Option<&Positions>,
) -> Result<Positions> {
    let Some(target) = target else { return std::future::pending().await };
    loop {
        still_possible(&pipeline.status())?;
        match is_caught_up(stores, pipeline, target).await {
            Ok(true) => return Ok(target.clone()),
            Ok(false) => {}
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "cannot tell yet how far the processors have come")
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Fails when a partition or a follower has stopped for good: then this process will not catch up.
fn still_possible(status: &PipelineStatus) -> Result<()> {
    status.stopped().into_iter().next().map_or(Ok(()), |stopped| Err(stopped.into()))
}

async fn is_caught_up(stores: &Stores, pipeline: &PipelineHandle, target: &Positions) -> Result<bool> {
    if !pipeline.status().has_reached(target) && !stores.postgres.history().positions().await?.covers(target)
    {
        return Ok(false);
    }
    // Another process may run the alerts, or may have died while it did.
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

#[cfg(test)]
mod tests {
    use feedkit_core::pipeline::{FollowerStatus, PartitionState, PartitionStatus, Trouble};
    use feedkit_core::{ErrorKind, Partition};

    use super::*;

    #[test]
    fn only_what_has_stopped_for_good_ends_the_wait_whatever_the_texts_say() {
        // PostgreSQL says so when it restarts, which passes.
        let passing = Trouble::new(ErrorKind::Retriable, "the server has stopped the connection");
        let with = |state, follower: FollowerStatus| PipelineStatus {
            partitions: [(Partition(3), PartitionStatus { position: 7, state })].into(),
            followers: [("rollups".to_owned(), follower)].into(),
            source_trouble: Some(passing.clone()),
            ..Default::default()
        };
        let retried = || FollowerStatus { trouble: Some(passing.clone()), ..Default::default() };
        let retrying = PartitionState::Retrying(passing.clone());
        still_possible(&with(retrying.clone(), retried())).unwrap();
        let gap = PartitionState::Stopped(Trouble::new(ErrorKind::Gap, "truncated"));
        let error = still_possible(&with(gap, retried())).unwrap_err();
        assert_eq!(error.to_string(), "partition 3 stopped: truncated");
        let damaged = Trouble::new(ErrorKind::Corrupt, "damaged");
        let follower = FollowerStatus { trouble: Some(damaged), stopped: true, ..Default::default() };
        let error = still_possible(&with(retrying, follower)).unwrap_err();
        assert_eq!(error.to_string(), "follower rollups stopped: damaged");
    }
}
