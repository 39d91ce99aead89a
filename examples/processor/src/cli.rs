//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use feedkit_core::UserId;
use feedkit_server::settings::{ConfigFile, Flags, Value};

use crate::settings::AllSections;

/// Reads events from Kafka, stores them in PostgreSQL and counts them in Redis, each exactly once,
/// and raises alerts. Any number of processors divide the partitions of the log among themselves.
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
  feedkit-processor accept-gap                after the log has lost records: what is missing, and where to resume
  feedkit-processor rejected list             records that were not valid events

Every setting is a flag (--help lists them), a FEEDKIT_… variable, and a key of the file that --config names.
docs/configuration-processor.md describes the settings. docs/operations.md says what to do when something fails.

Exit codes: 0 success, 1 failure (or verify found differences), 2 wrong usage or configuration.";

#[derive(Debug, Args)]
pub struct Run {
    /// Check the settings and the connections to all services, then exit
    #[arg(long)]
    pub check: bool,
    /// Read to the current ends of the partitions, wait for all followers to catch up, then exit
    #[arg(long, conflicts_with = "check")]
    pub until_caught_up: bool,
    /// With --until-caught-up: print the result as one line of JSON
    #[arg(long, requires = "until_caught_up")]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the topics that do not exist yet; existing topics are not changed
    CreateTopics(CreateTopics),
    /// Recount everything from the raw events and compare; the exit code is 1 if anything differs
    Verify(Json),
    /// Recompute counters or rollups from the history
    Rebuild {
        /// What to recompute
        #[arg(value_enum)]
        what: Rebuilt,
    },
    /// Show or resend records that were not valid events
    #[command(subcommand)]
    Rejected(Rejected),
    /// Show the position and lag of each partition, and the positions of the followers
    Status(Json),
    /// Resume after the log has lost records, and record the loss
    ///
    /// Without --yes it only shows what is missing. A partition resumes where the log begins now,
    /// unless --to says otherwise. Only a person can decide that this is right. Events that were
    /// read before are recognized and change nothing.
    AcceptGap(AcceptGap),
    /// Tell the followers that PostgreSQL was restored from a backup, so that they rebuild their
    /// counts
    AfterRestore,
    /// Remove a person's texts and replace their id by a pseudonym; counts do not change
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
    /// Number of partitions of each new topic
    #[arg(long, default_value_t = 4)]
    pub partitions: u32,
    /// Number of replicas of each record [default: that of the brokers]
    #[arg(long)]
    pub replicas: Option<u16>,
    /// Number of replicas that must have a record before it is acknowledged; usually 2 of 3
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
    /// The counters in Redis
    Counters,
    /// The rollups in PostgreSQL
    Rollups,
}

#[derive(Debug, Subcommand)]
pub enum Rejected {
    /// Show the records, by partition and offset
    List {
        /// Maximum number of records
        #[arg(short = 'n', long, default_value_t = 100)]
        count: usize,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Send the records that the current configuration accepts to the log again, and remove them
    /// here
    Retry,
}

#[derive(Debug, Args)]
pub struct AcceptGap {
    /// Only for this partition
    #[arg(long)]
    pub partition: Option<u32>,
    /// The next offset to read, instead of the beginning of the log
    #[arg(long, requires = "partition")]
    pub to: Option<u64>,
    /// Resume the partitions, instead of only showing what is missing
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
