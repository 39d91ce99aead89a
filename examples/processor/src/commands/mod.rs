//! The commands.

mod gap;
mod rejected;
mod repair;
mod restore;
mod run;
mod status;
mod topics;

use std::process::ExitCode;

use feedkit_core::Result;
use feedkit_server::{output, settings};

use crate::assembly::NAME;
use crate::cli::{Cli, Command, Rejected};
use crate::settings::{AllSections, Settings};

/// Runs the command.
pub async fn run(cli: Cli, settings: Settings) -> Result<ExitCode> {
    let Some(command) = cli.command else { return run::run(&cli.run, &settings).await };
    match command {
        Command::CreateTopics(args) => topics::create(&args, &settings).await,
        Command::Verify(args) => repair::verify(args.json, &settings).await,
        Command::Rebuild { what } => repair::rebuild(what, &settings).await,
        Command::Rejected(Rejected::List { count, json }) => rejected::list(count, json, &settings).await,
        Command::Rejected(Rejected::Retry) => rejected::retry(&settings).await,
        Command::Status(args) => status::status(args.json, &settings).await,
        Command::AcceptGap(args) => gap::accept(&args, &settings).await,
        Command::AfterRestore => restore::after_restore(&settings).await,
        Command::EraseUser { user } => restore::erase(&user, &settings).await,
        Command::Reference => reference(),
    }
}

const INTRODUCTION: &str = "\
# Configuration of feedkit-processor

<!-- Made by `feedkit-processor reference > docs/configuration-processor.md`. A test compares the two. -->

[Settings are given](configuration.md) in the same way for all programs. A flag overrides a variable,
a variable overrides the file that `--config` names, and the file overrides the default.
`feedkit-processor --check` checks the settings and the connections to all services, then exits.

The table `[kafka.properties]` of the file takes any property of
[librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md), such as
`\"security.protocol\" = \"sasl_ssl\"`. A few properties are refused, because exactness depends on
their values.
";

fn reference() -> Result<ExitCode> {
    let text = format!("{INTRODUCTION}{}", settings::reference::<AllSections>());
    output::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Connects to PostgreSQL for a command. Does not wait until PostgreSQL is up, because a person
/// called the command.
async fn postgres(settings: &Settings) -> Result<feedkit_store::postgres::Postgres> {
    settings.services.postgres(NAME).await.map_err(|error| error.context("PostgreSQL"))
}
