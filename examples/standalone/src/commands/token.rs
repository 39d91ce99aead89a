//! `token`: creates a token with the directory's secret. It also works while a server runs.

use std::process::ExitCode;

use feedkit_core::Result;

use super::serve::{gateway, secret};
use crate::cli;
use crate::config::Config;
use feedkit_server::output;

/// Prints a token.
pub fn token(args: &cli::Token, config: &Config) -> Result<ExitCode> {
    gateway::check_signs(&config.jwt)?;
    let secret = match &config.jwt.secret {
        Some(secret) => secret.clone(),
        None => secret::read(&config.data)?,
    };
    let bearer = gateway::Bearer { user: &args.sub, roles: &args.roles, scopes: &args.scopes };
    output::line(&gateway::sign(&config.jwt, &secret, &bearer, args.ttl)?)?;
    Ok(ExitCode::SUCCESS)
}
