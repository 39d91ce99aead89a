//! `feedkit-gateway`: writes events to Kafka, answers reads from Redis and PostgreSQL, and pushes
//! notifications.

mod breaker;
mod cli;
mod ends;
mod health;
mod keys;
mod limits;
mod run;
mod settings;
mod visibility;

use std::process::ExitCode;

use clap::Parser;
use feedkit_server::settings::{Layers, reference};
use feedkit_server::{Failure, exit, logs, output, runtime};

use crate::cli::{Cli, INTRODUCTION};
use crate::settings::{AllSections, OPEN_TABLES, Settings};

/// Requests allocate and free memory in many sizes on many threads. jemalloc returns more of it
/// than the system's allocator.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    exit("feedkit-gateway", start(Cli::parse()))
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    if cli.reference {
        output::line(format!("{INTRODUCTION}{}", reference::<AllSections>()).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (given, path) = (cli.settings.given, cli.file.config.as_deref());
    let layers = Layers::of_process::<AllSections>(&OPEN_TABLES, given, path)?;
    let settings = Settings::load(&layers)?;
    let _log = logs::start(&settings.log.log, settings.log.log_format)?;
    settings.services.warn_of_passwords(&layers);
    Ok(runtime()?.block_on(run::run(cli.check, settings))?)
}
