//! `after-restore` and `erase-user`.

use std::process::ExitCode;

use feedkit_core::{Result, UserId};
use feedkit_server::output;

use crate::settings::Settings;

/// Gives the history a new incarnation.
pub async fn after_restore(settings: &Settings) -> Result<ExitCode> {
    let incarnation = super::postgres(settings).await?.history().after_restore().await?;
    output::line(&format!(
        "the history has a new incarnation, {incarnation:032x}: the next processor that runs rebuilds the counters"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Erases a person. The counters have the authors of posts, so they are rebuilt if the person is an
/// author.
pub async fn erase(user: &UserId, settings: &Settings) -> Result<ExitCode> {
    let postgres = super::postgres(settings).await?;
    let erased = postgres.history().erase_user(user).await?;
    output::line(&format!(
        "{user} is now {}: {} events, {} likes, {} posts, {} rejected records, {} alerts changed",
        erased.pseudonym, erased.events, erased.likes, erased.posts, erased.rejected, erased.alerts
    ))?;
    if erased.posts > 0 {
        super::repair::rebuild_counters(&postgres, settings).await.map_err(|error| {
            error.context(
                "PostgreSQL is done, but Redis still has the author: run `feedkit-processor rebuild counters`",
            )
        })?;
        output::line("the counters, which have the authors, were recomputed")?;
    }
    output::line("the log, the journal and backups still have the data until their retention removes it")?;
    Ok(ExitCode::SUCCESS)
}
