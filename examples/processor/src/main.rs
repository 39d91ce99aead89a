//! `feedkit-processor`: reads the log in Kafka, stores the history in PostgreSQL, counts in Redis,
//! and raises alerts.

mod assembly;
mod cli;
mod commands;
mod config;
mod health;
mod metrics;
mod probes;

use std::process::ExitCode;

use clap::Parser;
use feedkit_server::settings::Layers;
use feedkit_server::{Failure, exit, logs, runtime};

use crate::cli::Cli;
use crate::config::{AllSections, Config, OPEN_TABLES};

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
    let config = Config::load(&layers)?;
    let _log = logs::start(&config.general.log, config.general.log_format)?;
    config.services.warn_of_passwords(&layers);
    Ok(runtime()?.block_on(commands::run(cli, config))?)
}
