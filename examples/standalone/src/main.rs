//! `feedkit`: the whole pipeline in one program, on one directory, with no service running.

mod cli;
mod commands;
mod config;
mod engine;
#[cfg(feature = "failpoints")]
mod failpoints;
mod log;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::config::Config;

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "failpoints")]
    failpoints::arm();
    let config = match Config::load(&cli.common) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("feedkit: {message}");
            return ExitCode::from(2);
        }
    };
    log::start(&config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("feedkit: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(commands::run(cli.command, config));
    // A read of standard input may never end.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("feedkit: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            match error.kind() {
                feedkit_core::ErrorKind::Invalid => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
