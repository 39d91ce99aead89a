//! Whole runs of feedkit, beside a plain program that does the same writes; see `docs/performance.md`.

mod alerts;
mod baseline;
mod compare;
mod events;
mod follower;
mod memory;
mod rules;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Whole runs of feedkit, measured.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write made-up events: users uniform, posts Zipf(1.1), 90 % likes, 7 % comments, 3 % posts, no ids, no times
    Events {
        /// How many
        count: u64,
        #[arg(long, default_value_t = 100_000)]
        users: u32,
        #[arg(long, default_value_t = 50_000)]
        posts: u32,
        #[arg(long, default_value_t = 11)]
        seed: u64,
        /// Where to
        #[arg(long)]
        out: PathBuf,
    },
    /// One run of the plain program: one thread, one transaction for each batch
    Baseline {
        file: PathBuf,
        #[arg(long, default_value_t = 5_000)]
        batch: usize,
        /// Write raw rows only
        #[arg(long)]
        raw: bool,
    },
    /// `feedkit replay` and the plain program in turn; medians and ratios
    Compare {
        file: PathBuf,
        /// The program, built with --release
        #[arg(long, default_value = "target/release/feedkit")]
        feedkit: PathBuf,
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Resident memory through one `feedkit replay`
    Memory {
        file: PathBuf,
        #[arg(long, default_value = "target/release/feedkit")]
        feedkit: PathBuf,
        /// Where the data stay, to measure a follower on them
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// The three alert rules, each alone and together
    Rules {
        /// Users, and posts
        #[arg(long, default_value_t = 1_000_000)]
        keys: u32,
    },
    /// The alert follower, from entries to steps, with an alert log in memory
    Alerts,
    /// A follower that starts from nothing on a data directory
    Follower {
        data: PathBuf,
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cli::parse().command {
        Command::Events { count, users, posts, seed, out } => events::write(count, users, posts, seed, &out),
        Command::Baseline { file, batch, raw } => {
            let dir = tempfile::tempdir()?;
            let run = baseline::run(&file, dir.path(), batch, raw)?;
            println!("{run}");
            Ok(())
        }
        Command::Compare { file, feedkit, runs } => compare::compare(&file, &feedkit, runs),
        Command::Memory { file, feedkit, data } => memory::series(&file, &feedkit, data.as_deref()),
        Command::Rules { keys } => Ok(rules::measure_all(keys)?),
        Command::Alerts => Ok(tokio::runtime::Runtime::new()?.block_on(alerts::measure())?),
        Command::Follower { data, runs } => follower::catch_up(&data, runs),
    }
}
