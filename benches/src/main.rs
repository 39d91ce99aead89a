//! Measures whole runs of feedkit, beside a plain program that makes the same writes.
//!
//! See `docs/performance.md`.

mod alerts;
mod baseline;
mod compare;
mod events;
mod follower;
mod grow;
mod load;
mod memory;
mod rules;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Measures whole runs of feedkit.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write generated events: uniform users, Zipf(1.1) posts, 90 % likes, 7 % comments and 3 %
    /// posts, without ids and times
    Events {
        /// Number of events
        count: u64,
        #[arg(long, default_value_t = 100_000)]
        users: u32,
        #[arg(long, default_value_t = 50_000)]
        posts: u32,
        #[arg(long, default_value_t = 11)]
        seed: u64,
        /// The file to write
        #[arg(long)]
        out: PathBuf,
    },
    /// Run the plain program once: one thread, one transaction per batch
    Baseline {
        file: PathBuf,
        #[arg(long, default_value_t = 5_000)]
        batch: usize,
        /// Write raw rows only
        #[arg(long)]
        raw: bool,
    },
    /// Run `feedkit replay` and the plain program in turn, and print medians and ratios
    Compare {
        file: PathBuf,
        /// The program `feedkit`, built with --release
        #[arg(long, default_value = "target/release/feedkit")]
        feedkit: PathBuf,
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Print the resident memory during one `feedkit replay`
    Memory {
        file: PathBuf,
        #[arg(long, default_value = "target/release/feedkit")]
        feedkit: PathBuf,
        /// A directory that keeps the data, for the command `follower`
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Send many events in steps, and print how speed, CPU time, memory and writes change. Exits with
    /// 1 if a program warns of something unexpected
    Grow(grow::Grow),
    /// Measure the three alert rules, each alone and all together
    Rules {
        /// Number of users, and of posts
        #[arg(long, default_value_t = 1_000_000)]
        keys: u32,
    },
    /// Measure the alert follower, from entries to steps, with an alert log in memory
    Alerts,
    /// Measure how fast a follower without a position catches up on a data directory
    Follower {
        data: PathBuf,
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// Serve a bare poem handler that checks a token, reads an event and answers 202, until it is
    /// stopped
    Bare {
        #[arg(long)]
        listen: SocketAddr,
        /// The file with the secret that signs the tokens
        #[arg(long)]
        secret: PathBuf,
        /// Send each event to this broker first, and wait for its acknowledgement
        #[arg(long)]
        kafka: Option<String>,
        #[arg(long, default_value = "user-actions")]
        topic: String,
    },
    /// Load a server over HTTP on a loopback address, as fast as it answers
    Http {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        secret: PathBuf,
        #[arg(long, default_value_t = 256)]
        connections: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Send batches of this number of events instead of single events
        #[arg(long, conflicts_with = "read")]
        batch: Option<usize>,
        /// Read this path instead; {} becomes a post's id
        #[arg(long)]
        read: Option<String>,
    },
    /// Measure the time from a POST to the author's socket; the server must raise milestones at one
    /// like
    Push {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        secret: PathBuf,
        #[arg(long, default_value_t = 400)]
        samples: u32,
        #[arg(long, default_value_t = 1000)]
        behind: u32,
    },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cli::parse().command {
        Command::Events { count, users, posts, seed, out } => {
            Ok(events::Events::new(users, posts, seed).write(count, &out)?)
        }
        Command::Grow(grow) => grow::run(&grow),
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
        Command::Bare { listen, secret, kafka, topic } => {
            let kafka = kafka.as_deref().map(|bootstrap| (bootstrap, topic.as_str()));
            tokio::runtime::Runtime::new()?.block_on(load::bare::serve(listen, &secret, kafka))
        }
        Command::Http { address, secret, connections, seconds, batch, read } => {
            on_loopback(address)?;
            let kind = match (batch, read) {
                (Some(count), _) => load::http::Kind::Batch(count),
                (None, Some(path)) => load::http::Kind::Read(path),
                (None, None) => load::http::Kind::Single,
            };
            let load = load::http::Load {
                address,
                connections,
                duration: Duration::from_secs(seconds),
                warm_up: Duration::from_secs(2),
                kind,
            };
            let tokens = load::token::Tokens::read(&secret)?;
            let answers = one_thread()?.block_on(load::http::run(load, &tokens))?;
            answers.print(&address.to_string());
            Ok(())
        }
        Command::Push { address, secret, samples, behind } => {
            on_loopback(address)?;
            let tokens = load::token::Tokens::read(&secret)?;
            one_thread()?.block_on(load::push::run(load::push::Push { address, samples, behind }, &tokens))
        }
    }
}

/// A runtime with one thread, so that the load takes little of the machine.
fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn on_loopback(address: SocketAddr) -> Result<(), String> {
    address.ip().is_loopback().then_some(()).ok_or_else(|| format!("{address} is not a loopback address"))
}
