//! `after-restore` and `erase-user`.

use std::process::ExitCode;

use feedkit_core::{Result, UserId};
use feedkit_server::output;

use crate::config::Config;

/// Renews the history's incarnation.
pub async fn after_restore(config: &Config) -> Result<ExitCode> {
    let incarnation = super::postgres(config).await?.history().after_restore().await?;
    output::line(&format!(
        "the history has a new incarnation, {incarnation:032x}: the counters are rebuilt when a processor runs"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Erases a person.
pub async fn erase(user: &UserId, config: &Config) -> Result<ExitCode> {
    let erased = super::postgres(config).await?.history().erase_user(user).await?;
    output::line(&format!(
        "{user} is {} now: {} events, {} likes, {} posts, {} rejected records, {} alerts changed",
        erased.pseudonym, erased.events, erased.likes, erased.posts, erased.rejected, erased.alerts
    ))?;
    output::line("the log, the journal and backups forget by their own retention")?;
    Ok(ExitCode::SUCCESS)
}
