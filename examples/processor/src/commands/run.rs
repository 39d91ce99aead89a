//! Runs the processor, until it is stopped or has caught up.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feedkit_core::follower::FollowerPosition;
use feedkit_core::pipeline::{PipelineHandle, PipelineStatus};
use feedkit_core::source::{Resume, check_resume};
use feedkit_core::{CounterStore, Error, Follower, History, Positions, Result, Supervisor};
use feedkit_server::{Signals, bind, output};
use serde_json::json;

use crate::assembly::{Assembly, Stores, assemble, topics};
use crate::cli::Run;
use crate::config::Config;
use crate::metrics::Snapshot;
use crate::probes;

/// How often `--until-caught-up` looks whether everything has caught up.
const LOOK: Duration = Duration::from_millis(20);

/// Runs until a signal comes, a part fails, or everything has caught up.
pub async fn run(args: &Run, config: &Config) -> Result<ExitCode> {
    if args.check {
        return check(config).await;
    }
    let signals = Signals::listen()?;
    let listener = bind(config.general.listen).await?;
    let stores = match Stores::open(config, signals.stop()).await {
        // A signal came while it waited for a service: it has stopped as asked.
        Err(_) if signals.stop().is_cancelled() && !args.until_caught_up => return Ok(ExitCode::SUCCESS),
        stores => stores?,
    };
    let begun = Begun { started: Instant::now(), positions: stores.postgres.history().positions().await? };
    let target = if args.until_caught_up { Some(ends(&stores).await?) } else { None };
    let Assembly { pipeline, source, signals: alerts, parts } = assemble(config, &stores)?;
    let address = listener.local_addr().unwrap_or(config.general.listen);
    let look = {
        let (pipeline, postgres) = (pipeline.clone(), stores.postgres.clone());
        move || Snapshot {
            pipeline: pipeline.status(),
            source: source.stats(),
            holds_lease: alerts.lease().is_some(),
            connections: postgres.connections(),
        }
    };
    let deadline = config.general.shutdown_deadline;
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
