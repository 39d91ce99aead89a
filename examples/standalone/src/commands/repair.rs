//! `verify` and `rebuild`: check the totals, and correct them.

use std::process::ExitCode;
use std::sync::Arc;

use feedkit_core::{Inspect, Result, SystemClock};
use feedkit_store::sqlite::{Sqlite, SqliteOptions};

use crate::config::Config;
use feedkit_server::output;

/// Recounts and compares. Exit code 1 if anything differs.
pub async fn verify(json: bool, config: &Config) -> Result<ExitCode> {
    let store = Sqlite::open_read_only(&config.data, SqliteOptions::default()).await?;
    let found = store.history().verify().await?;
    if json {
        output::json(&found)?;
    } else {
        for difference in &found.differences {
            output::line(difference)?;
        }
        let shown = found.differences.len() as u64;
        if found.difference_count > shown {
            output::line(&format!("… and {} more", found.difference_count - shown))?;
        }
        let verdict = match found.difference_count {
            0 => "all is right".to_owned(),
            n => format!("{n} differences; `feedkit rebuild` corrects the totals"),
        };
        output::line(&format!("{} events, {} posts: {verdict}", found.events, found.posts))?;
    }
    Ok(if found.difference_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Computes all totals again.
pub async fn rebuild(config: &Config) -> Result<ExitCode> {
    // A mistyped name must not create a directory.
    Sqlite::open_read_only(&config.data, SqliteOptions::default()).await?;
    let store = Sqlite::open(&config.data, SqliteOptions::default(), Arc::new(SystemClock)).await?;
    store.history().rebuild_totals().await?;
    let found = store.history().verify().await?;
    store.close().await;
    output::line(&format!(
        "computed the totals of {} posts again from {} events",
        found.posts, found.events
    ))?;
    Ok(if found.difference_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
