//! `serve --check`: checks whether the server would start.

use std::process::ExitCode;

use feedkit_core::Result;
use feedkit_server::gateway::Algorithm;
use feedkit_server::settings::Secret;
use feedkit_store::sqlite::{Sqlite, SqliteOptions};

use super::{gateway, secret};
use crate::config::Config;
use feedkit_server::output;

/// Checks the settings, which were loaded already, the keys and the directory. Changes nothing.
pub async fn check(config: &Config) -> Result<ExitCode> {
    let data = config.data.display();
    let made = |name: &str| config.data.join(name).try_exists().unwrap_or(false);
    let directory = match made("log.db") || made("state.db") {
        true => {
            let store = Sqlite::open_read_only(&config.data, SqliteOptions::default()).await?;
            store.close().await;
            format!("{data} exists and can be read")
        }
        false => format!("{data} will be created"),
    };
    let signs = config.jwt.algorithm == Algorithm::Hs256;
    let secret = match &config.jwt.secret {
        Some(configured) => Some(configured.clone()),
        None if signs && made("jwt-secret") => Some(secret::read(&config.data)?),
        // One of the right length will be created.
        None if signs => Some(Secret::new([0; 32])),
        None => None,
    };
    gateway::verifier(&config.jwt, secret.as_ref())?;
    output::line(&format!("the settings are valid; {directory}"))?;
    Ok(ExitCode::SUCCESS)
}
