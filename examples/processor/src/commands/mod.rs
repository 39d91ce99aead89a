//! What the commands do.

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
use crate::config::{AllSections, Config};

/// Runs the command.
pub async fn run(cli: Cli, config: Config) -> Result<ExitCode> {
    let Some(command) = cli.command else { return run::run(&cli.run, &config).await };
    match command {
        Command::CreateTopics(args) => topics::create(&args, &config).await,
        Command::Verify(args) => repair::verify(args.json, &config).await,
        Command::Rebuild { what } => repair::rebuild(what, &config).await,
        Command::Rejected(Rejected::List { count, json }) => rejected::list(count, json, &config).await,
        Command::Rejected(Rejected::Retry) => rejected::retry(&config).await,
        Command::Status(args) => status::status(args.json, &config).await,
        Command::AcceptGap(args) => gap::accept(&args, &config).await,
        Command::AfterRestore => restore::after_restore(&config).await,
        Command::EraseUser { user } => restore::erase(&user, &config).await,
        Command::Reference => reference(),
    }
}

const INTRODUCTION: &str = "\
# Configuration of feedkit-processor

<!-- Made by `feedkit-processor reference > docs/configuration-processor.md`; a test compares the two. -->

[How settings are given](configuration.md) is the same for all programs: a flag goes before a variable, a variable before the file
that `--config` names, the file before the default. `feedkit-processor --check` looks at the settings, reaches the services and
exits.

In the table `[kafka.properties]` of the file any property of
[librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md) can be set, such as
`\"security.protocol\" = \"sasl_ssl\"`; those that exactness rests on are refused.
";

fn reference() -> Result<ExitCode> {
    let text = format!("{INTRODUCTION}{}", settings::reference::<AllSections>());
    output::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// PostgreSQL, for a command that is called by a person: without waiting for it.
async fn postgres(config: &Config) -> Result<feedkit_store::postgres::Postgres> {
    config.services.postgres(NAME).await.map_err(|error| error.context("PostgreSQL"))
}
