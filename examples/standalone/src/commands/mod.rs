//! One file for each command or family of commands.

mod queries;
mod reference;
mod repair;
mod replay;
mod sample;
mod serve;
mod token;

use std::process::ExitCode;

use feedkit_core::Result;

use crate::cli::Command;
use crate::config::Config;

/// Runs one command until it ends.
pub async fn run(command: Command, config: Config) -> Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::serve(&args, config).await,
        Command::Token(args) => token::token(&args, &config),
        Command::Reference => reference::reference(),
        Command::Replay(args) => replay::replay(&args, &config).await,
        Command::Sample(args) => sample::sample(&args),
        Command::Top(args) => queries::top(&args, &config).await,
        Command::Post(args) => queries::post(&args, &config).await,
        Command::Alerts(args) => queries::alerts(&args, &config).await,
        Command::Rejected(args) => queries::rejected(&args, &config).await,
        Command::Verify(args) => repair::verify(args.json, &config).await,
        Command::Rebuild => repair::rebuild(&config).await,
    }
}
