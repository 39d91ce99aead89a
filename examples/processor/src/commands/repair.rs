//! `verify` checks totals and counters, and `rebuild` recomputes them.

use std::process::ExitCode;
use std::sync::Arc;

use feedkit_core::pipeline::CounterFollower;
use feedkit_core::queries::PostView;
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, Counts, Follower, History, Inspect, Positions, Result};
use feedkit_server::output;
use feedkit_store::postgres::Postgres;
use feedkit_store::redis::RedisCounters;
use serde_json::json;

use crate::cli::Rebuilt;
use crate::settings::Settings;

/// Maximum number of posts to compare at once.
const PAGE: usize = 500;
/// Maximum number of differences to show.
const SHOWN: usize = 100;

/// Recounts and compares. The exit code is 1 if anything differs.
pub async fn verify(json: bool, settings: &Settings) -> Result<ExitCode> {
    let postgres = super::postgres(settings).await?;
    let found = postgres.history().verify().await?;
    let counters = compare_counters(&postgres, &settings.services.redis()?.counters()).await?;
    if json {
        output::json(&json!({ "history": found, "counters": counters.as_json() }))?;
    } else {
        for difference in found.differences.iter().chain(&counters.differences).take(SHOWN) {
            output::line(difference)?;
        }
        let verdict = |count: u64| match count {
            0 => "all is right".to_owned(),
            n => format!("{n} differences; `feedkit-processor rebuild` recomputes"),
        };
        let history = verdict(found.difference_count);
        output::line(&format!("history: {} events, {} posts: {history}", found.events, found.posts))?;
        output::line(&match &counters.not_compared {
            Some(why) => format!("counters: not compared, {why}"),
            None => format!("counters: {} posts: {}", counters.posts, verdict(counters.count)),
        })?;
    }
    let right = found.difference_count == 0 && counters.count == 0;
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Recomputes counters or rollups.
pub async fn rebuild(what: Rebuilt, settings: &Settings) -> Result<ExitCode> {
    let postgres = super::postgres(settings).await?;
    match what {
        Rebuilt::Counters => {
            rebuild_counters(&postgres, settings).await?;
            output::line("the counters were recomputed from the history")?;
        }
        Rebuilt::Rollups => {
            postgres.history().rebuild_totals().await?;
            output::line("totals and hourly sums were recomputed from the raw events")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Rebuilds the counters in place. Running processors wait in the meantime.
pub(super) async fn rebuild_counters(postgres: &Postgres, settings: &Settings) -> Result<()> {
    let (counters, history) = (settings.services.redis()?.counters(), Arc::new(postgres.history()));
    CounterFollower::new("counters", counters, history.clone(), Trending::default()).rebuild(&*history).await
}

#[derive(Default)]
struct Compared {
    posts: u64,
    count: u64,
    differences: Vec<String>,
    not_compared: Option<String>,
}

impl Compared {
    fn as_json(&self) -> serde_json::Value {
        json!({
            "posts": self.posts,
            "differences": self.differences,
            "differenceCount": self.count,
            "notCompared": self.not_compared,
        })
    }
}

/// Compares the counts of each post with those of the history, if both stay at the same positions.
async fn compare_counters(postgres: &Postgres, counters: &RedisCounters) -> Result<Compared> {
    let mut snapshot = postgres.history().snapshot().await?;
    let positions = snapshot.positions().clone();
    let mut compared = Compared::default();
    if let Some(why) = elsewhere(counters, &positions).await? {
        compared.not_compared = Some(why);
        return Ok(compared);
    }
    loop {
        let totals = snapshot.next(PAGE).await?;
        if totals.is_empty() {
            break;
        }
        let posts: Vec<_> = totals.iter().map(|t| t.post.clone()).collect();
        for (totals, counted) in totals.into_iter().zip(counters.posts(&posts).await?) {
            let truth = PostView::new(totals.post, totals.author, totals.counts);
            compared.posts += 1;
            if truth != counted {
                compared.count += 1;
                if compared.differences.len() < SHOWN {
                    compared.differences.push(format!(
                        "post {}: the history has {:?} by {:?}, the counters {:?} by {:?}",
                        truth.post_id, truth.counts, truth.author, counted.counts, counted.author
                    ));
                }
            }
        }
    }
    if let Some(why) = elsewhere(counters, &positions).await? {
        compared = Compared { not_compared: Some(why), ..Compared::default() };
    }
    Ok(compared)
}

async fn elsewhere(counters: &RedisCounters, positions: &Positions) -> Result<Option<String>> {
    for (partition, offset) in positions.iter().filter(|(_, offset)| *offset > 0) {
        let fence = match counters.fence(partition).await {
            Ok(fence) => fence,
            Err(error) if error.is_retriable() => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        let at = fence.map_or(0, |fence| fence.position);
        if at != offset {
            return Ok(Some(format!(
                "partition {partition} is counted up to {at} and committed up to {offset}: try again when \
                 there is little traffic"
            )));
        }
    }
    Ok(None)
}
