//! `feedkit`: the whole pipeline in one program, on one directory, with no service running.

mod assembly;
mod cli;
mod commands;
mod config;

use std::process::ExitCode;

use clap::Parser;
use feedkit_server::settings::Layers;
use feedkit_server::{Failure, exit, logs, runtime};

use crate::cli::Cli;
use crate::config::{AllSections, Config};

/// Many threads allocate and free batches of different sizes. The system's allocator needs a fifth
/// more memory for that.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "failpoints")]
    feedkit_server::failpoints::arm();
    exit("feedkit", run(cli))
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let layers = Layers::of_process::<AllSections>(&[], cli.given(), cli.file.config.as_deref())?;
    let config = Config::load(&layers)?;
    let _log = logs::start(&config.log, config.log_format)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(commands::run(cli.command, config));
    // A read from standard input may never end.
    runtime.shutdown_background();
    Ok(outcome?)
}
