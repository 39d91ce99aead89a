//! Sends many events in steps of the same size, to see whether feedkit slows down as its data grows.

mod process;
mod servers;
mod sqlite;
mod table;

use std::path::PathBuf;

use clap::Args;

use crate::events::Events;
use table::{Step, Table};

/// What to send, and to whom. Without `--kafka`, `feedkit replay` takes the events. With it,
/// `feedkit-processor --until-caught-up` does.
#[derive(Debug, Args)]
pub struct Grow {
    /// Number of events in all
    #[arg(long, default_value_t = 8_000_000)]
    events: u64,
    /// Number of events of a step
    #[arg(long, default_value_t = 1_000_000)]
    step: u64,
    #[arg(long, default_value_t = 2_000_000)]
    users: u32,
    #[arg(long, default_value_t = 1_000_000)]
    posts: u32,
    #[arg(long, default_value_t = 11)]
    seed: u64,
    /// The program, built with --release: feedkit, or feedkit-processor with --kafka
    #[arg(long)]
    program: Option<PathBuf>,
    /// The broker, on this machine: HOST:PORT
    #[arg(long, requires_all = ["postgres", "redis"])]
    kafka: Option<String>,
    /// A PostgreSQL server on this machine; a database is made there, and dropped at the end
    #[arg(long)]
    postgres: Option<String>,
    /// An empty Redis on this machine
    #[arg(long)]
    redis: Option<String>,
    /// Number of partitions of the topic
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// A text of WARN lines that do not count as failures; can be given several times
    #[arg(long)]
    expect: Vec<String>,
    /// Further arguments of the program
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A backend that takes one step's events after the other.
trait Backend {
    /// Lets the program take the next `count` events, and measures it.
    fn step(&mut self, events: &mut Events, count: u64) -> Result<Step, Box<dyn std::error::Error>>;
}

/// Makes all steps, and prints a line for each and a chart at the end.
pub fn run(grow: &Grow) -> Result<(), Box<dyn std::error::Error>> {
    let mut backend: Box<dyn Backend> = match &grow.kafka {
        Some(kafka) => Box::new(servers::Servers::new(grow, kafka)?),
        None => Box::new(sqlite::Sqlite::new(grow)?),
    };
    let mut events = Events::new(grow.users, grow.posts, grow.seed);
    let mut table = Table::new(&grow.expect);
    let (mut sent, step) = (0, grow.step.max(1));
    while sent < grow.events {
        let count = step.min(grow.events - sent);
        sent += count;
        table.add(sent, backend.step(&mut events, count)?);
    }
    table.end()
}
