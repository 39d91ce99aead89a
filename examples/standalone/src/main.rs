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

/// Many threads allocate and free batches of different sizes: the system's allocator keeps a fifth more.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    if let Err(message) = log::start(&config.log) {
        eprintln!("feedkit: {message}");
        return ExitCode::from(2);
    }
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
            explain(&error);
            match error.kind() {
                feedkit_core::ErrorKind::Invalid => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Says what went wrong, why, and whether another try may help.
fn explain(error: &feedkit_core::Error) {
    eprintln!("feedkit: {error}");
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        // Some causes only repeat what was said.
        if !said.contains(&text) && !text.contains(&said) {
            eprintln!("  because: {text}");
            said = text;
        }
        cause = inner.source();
    }
    if error.is_retriable() {
        eprintln!("  this may pass: run the same command again when it has");
    }
}
