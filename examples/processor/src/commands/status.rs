//! `status`: shows the positions in all stores.

use std::process::ExitCode;

use feedkit_core::follower::FollowerPosition;
use feedkit_core::{CounterStore, Follower, History, Offset, Partition, Positions, Result};
use feedkit_server::output;
use serde::Serialize;

use crate::settings::Settings;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    partition: Partition,
    epoch: u64,
    committed: Offset,
    end: Option<Offset>,
    lag: Option<u64>,
    counters: Option<Offset>,
    rollups: Option<Offset>,
}

/// Prints a row for each partition. A value is left open if its store does not answer; a warning
/// says why.
pub async fn status(json: bool, settings: &Settings) -> Result<ExitCode> {
    let postgres = super::postgres(settings).await?;
    let (history, rollups) = (postgres.history(), postgres.rollups());
    let counters = settings.services.redis()?.counters();
    let ends = told("Kafka", settings.services.events()?.ends().await);
    let positions = history.positions().await?;
    let known = |positions: &Positions| positions.iter().map(|(p, _)| p).collect::<Vec<_>>();
    let mut partitions = known(&positions);
    partitions.extend(ends.iter().flat_map(known));
    partitions.sort_unstable();
    partitions.dedup();
    let mut rows = Vec::new();
    for partition in partitions {
        let claim = history.claimed(partition).await?;
        let end = ends.as_ref().map(|ends| ends.of(partition));
        let fence = told("Redis", counters.fence(partition).await).flatten();
        rows.push(Row {
            partition,
            epoch: claim.epoch,
            committed: claim.position,
            end,
            lag: end.map(|end| end.saturating_sub(claim.position)),
            counters: fence.map(|fence| fence.position),
            rollups: match rollups.position(partition).await? {
                FollowerPosition::At(at) => Some(at),
                _ => None,
            },
        });
    }
    if json {
        output::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        output::table(&["partition", "epoch", "committed", "log ends", "lag", "counters", "rollups"]);
    let shown = |number: Option<u64>| number.map_or("?".to_owned(), |n| n.to_string());
    for row in rows {
        table.add_row([
            row.partition.to_string(),
            row.epoch.to_string(),
            row.committed.to_string(),
            shown(row.end),
            shown(row.lag),
            shown(row.counters),
            shown(row.rollups),
        ]);
    }
    output::line(&table)?;
    let alerts = postgres.alert_log();
    let (lease, holds) = alerts.lease().await?;
    let runs = match (holds, lease.owner.as_str()) {
        (true, owner) => format!("{owner} runs the alerts"),
        (false, "") => "nobody runs the alerts".to_owned(),
        (false, owner) => format!("nobody runs the alerts; the lease of {owner} ended at {}", lease.until),
    };
    output::line(&format!("{} alerts are stored; {runs}", alerts.count().await?))?;
    Ok(ExitCode::SUCCESS)
}

fn told<T>(what: &str, outcome: Result<T>) -> Option<T> {
    outcome.inspect_err(|error| tracing::warn!(%error, "{what} does not answer")).ok()
}
