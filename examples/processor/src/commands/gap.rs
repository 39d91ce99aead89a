//! `accept-gap`: resumes after the log has lost records.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use feedkit_core::source::{Gap, Resume, SourceEvent};
use feedkit_core::{Clock, Error, EventSource, History, Partition, Result, SystemClock};
use feedkit_kafka::SourceOptions;
use feedkit_server::output;

use crate::cli::AcceptGap;
use crate::settings::Settings;

/// How long Kafka may take to report all partitions.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait for further gaps when all partitions are assigned.
const QUIET: Duration = Duration::from_secs(5);

/// Shows what is missing. With `--yes` it resumes the partitions.
pub async fn accept(args: &AcceptGap, settings: &Settings) -> Result<ExitCode> {
    let history = super::postgres(settings).await?.history();
    let kafka = settings.services.events()?;
    let looking = gaps(&history, kafka.broadcast(SourceOptions::default())?);
    let found = tokio::time::timeout(PATIENCE, looking).await.map_err(|_| {
        Error::retriable(format!("Kafka did not report all partitions within {PATIENCE:?}"))
    })??;
    let asked = |gap: &Gap| args.partition.is_none_or(|p| p == gap.partition.0);
    let (mut accepted, mut shown) = (0, 0);
    for (gap, log) in found.into_iter().filter(|(gap, _)| asked(gap)) {
        let to = args.to.unwrap_or(gap.start);
        if !(gap.start..=gap.end).contains(&to) {
            return Err(Error::invalid(format!(
                "--to {to}: partition {} has the offsets {}..{}",
                gap.partition, gap.start, gap.end
            )));
        }
        shown += 1;
        output::line(&format!("{gap}; it would resume at {to}"))?;
        if args.yes {
            history.accept_gap(gap.partition, log, to, SystemClock.now()).await?;
            accepted += 1;
        }
    }
    match (shown, accepted) {
        (0, _) => output::line("no partition has a gap")?,
        (_, 0) => {
            output::line("nothing was changed: --yes records the loss and resumes these partitions there")?
        }
        _ => output::line(&format!(
            "{accepted} gaps are recorded; restart the processor that has these partitions, or wait for its next \
             rebalance"
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The gaps that a processor would find at its start, each with the incarnation of the log.
async fn gaps(history: &impl History, mut source: impl EventSource) -> Result<Vec<(Gap, u128)>> {
    // The partitions that are not assigned yet, and the incarnations of those that are.
    let mut missing: BTreeSet<Partition> = source.ends().await?.iter().map(|(p, _)| p).collect();
    let mut logs: BTreeMap<Partition, u128> = BTreeMap::new();
    let mut gaps = Vec::new();
    loop {
        // A partition without a gap and without records yields no event.
        let quiet = if missing.is_empty() { QUIET } else { PATIENCE };
        let Ok(event) = tokio::time::timeout(quiet, source.next()).await else { break };
        match event {
            Ok(SourceEvent::Assigned(assigned)) => {
                let partition = assigned.partition;
                logs.insert(partition, assigned.log);
                missing.remove(&partition);
                let claim = history.claimed(partition).await?;
                assigned.resume(Resume { offset: claim.position, log: claim.log, last: claim.last });
            }
            Ok(SourceEvent::Batch(batch)) => source.pause(batch.partition),
            Ok(SourceEvent::Gap(gap)) => {
                if let Some(log) = logs.get(&gap.partition) {
                    gaps.push((gap, *log));
                }
            }
            Ok(_) => {}
            Err(error) if error.is_retriable() => tracing::warn!(%error, "waiting for Kafka"),
            Err(error) => return Err(error),
        }
    }
    gaps.sort_by_key(|(gap, _)| gap.partition);
    Ok(gaps)
}
