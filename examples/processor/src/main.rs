//! `feedkit-processor`: reads the log in Kafka, stores the history in PostgreSQL, counts in Redis,
//! and raises alerts.

mod assembly;
mod cli;
mod commands;
mod health;
mod metrics;
mod probes;
mod settings;

use std::process::ExitCode;

use clap::Parser;
use feedkit_server::settings::Layers;
use feedkit_server::{Failure, exit, logs, runtime};

use crate::cli::Cli;
use crate::settings::{AllSections, OPEN_TABLES, Settings};

/// Many threads allocate and free batches of different sizes. jemalloc needs a sixth less memory
/// than the system's allocator.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "failpoints")]
    feedkit_server::failpoints::arm();
    exit("feedkit-processor", run(cli))
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let (given, path) = (cli.settings.given.clone(), cli.file.config.as_deref());
    let layers = Layers::of_process::<AllSections>(&OPEN_TABLES, given, path)?;
    let settings = Settings::load(&layers)?;
    let _log = logs::start(&settings.general.log, settings.general.log_format)?;
    settings.services.warn_of_passwords(&layers);
    Ok(runtime()?.block_on(commands::run(cli, settings))?)
}
