//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use feedkit_core::UserId;
use feedkit_server::settings::{ConfigFile, Flags, Value};

use crate::config::AllSections;

/// Reads events from Kafka, keeps them in PostgreSQL, counts them in Redis, each exactly once, and raises alerts. Any
/// number of processors share the log's partitions out among themselves.
#[derive(Debug, Parser)]
#[command(name = "feedkit-processor", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub settings: Flags<AllSections, true>,
    #[command(flatten)]
    pub run: Run,
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  feedkit-processor create-topics --kafka broker:9092
  feedkit-processor --kafka broker:9092 --postgres postgres://feedkit@db/feedkit --redis redis://cache
  feedkit-processor --config /etc/feedkit/processor.toml --check
  feedkit-processor status                    positions, lag, followers
  feedkit-processor accept-gap                after the log has lost records: what is missing, and where to go on
  feedkit-processor rejected list             records that were not valid events

Every setting is a flag (--help shows all), a FEEDKIT_… variable, and a key of the file that --config names.
docs/configuration-processor.md lists them, docs/operations.md says what to do when something fails.

Exit codes: 0 done, 1 failed (or verify found differences), 2 bad usage or configuration.";

#[derive(Debug, Args)]
pub struct Run {
    /// Check the settings, reach the services, and exit
    #[arg(long)]
    pub check: bool,
    /// Read to where the partitions end now, let all followers catch up, and exit
    #[arg(long, conflicts_with = "check")]
    pub until_caught_up: bool,
    /// With --until-caught-up: end with one line of JSON
    #[arg(long, requires = "until_caught_up")]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the topics that are missing; those that are there stay as they are
    CreateTopics(CreateTopics),
    /// Recount everything from the raw events and compare; exit code 1 if anything differs
    Verify(Json),
    /// Compute counters or rollups anew from the history
    Rebuild {
        /// Which
        #[arg(value_enum)]
        what: Rebuilt,
    },
    /// Records that were not valid events
    #[command(subcommand)]
    Rejected(Rejected),
    /// Positions and lag of each partition, and how far the followers have come
    Status(Json),
    /// Go on after the log has lost records, and note the loss
    ///
    /// Without --yes it only says what is missing. Nothing else may claim that is right: a partition goes on where
    /// the log begins now, unless --to says otherwise. Events that were read before are recognised and change nothing.
    AcceptGap(AcceptGap),
    /// Tell followers that PostgreSQL was restored from a backup: what they have is counted anew
    AfterRestore,
    /// Remove a person's texts and put a pseudonym in place of their id; counts stay
    EraseUser {
        /// The user's id
        user: UserId,
    },
    /// Print the reference of all settings, in Markdown
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Args)]
pub struct CreateTopics {
    /// Partitions of each topic that is made
    #[arg(long, default_value_t = 4)]
    pub partitions: u32,
    /// Copies of each record; without it as the brokers are configured
    #[arg(long)]
    pub replicas: Option<u16>,
    /// Copies that must be written before a record is acknowledged; 2 of 3 replicas is the usual choice
    #[arg(long)]
    pub min_in_sync: Option<u16>,
    /// How long records are kept
    #[arg(long, default_value = "168h", value_parser = duration)]
    pub retention: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::parse(text).ok_or_else(|| format!("expected {}", Duration::EXPECTED))
}

#[derive(Debug, Args)]
pub struct Json {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rebuilt {
    /// In Redis
    Counters,
    /// In PostgreSQL
    Rollups,
}

#[derive(Debug, Subcommand)]
pub enum Rejected {
    /// Show them, by partition and offset
    List {
        /// At most so many
        #[arg(short = 'n', long, default_value_t = 100)]
        count: usize,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Send those that the present configuration accepts into the log again, and forget them here
    Retry,
}

#[derive(Debug, Args)]
pub struct AcceptGap {
    /// Only this partition
    #[arg(long)]
    pub partition: Option<u32>,
    /// The next offset to read, instead of where the log begins
    #[arg(long, requires = "partition")]
    pub to: Option<u64>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["feedkit-processor", "--kafka", "b:1", "status", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["feedkit-processor", "accept-gap", "--to", "5"]).is_err());
    }
}
