//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use feedkit_core::json_lines::Speed;
use feedkit_core::{PostId, UserId};
use feedkit_server::gateway::JwtSection;
use feedkit_server::settings::{ConfigFile, Flags, Given, Value};

use crate::config::{EngineSections, GeneralSection, ServeSections};

/// A real-time social feed in one program. It accepts likes, posts and comments, counts each
/// exactly once, watches for anomalies, and notifies the users concerned. All data is in one
/// directory; no other service is needed.
#[derive(Debug, Parser)]
#[command(name = "feedkit", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub general: Flags<(GeneralSection,), true>,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The values that flags have set, for any command.
    pub fn given(&self) -> Given {
        let general = self.general.given.clone();
        match &self.command {
            Command::Serve(args) => general.and(args.engine.given.clone()).and(args.serve.given.clone()),
            Command::Token(args) => general.and(args.jwt.given.clone()),
            Command::Replay(args) => general.and(args.engine.given.clone()),
            _ => general,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  feedkit serve --demo                HTTP, WebSocket and a live page on http://127.0.0.1:8080, with made-up traffic
  feedkit serve                       the same with ./feedkit-data, which is empty at first
  feedkit token --sub ann             a token for the user ann, valid for an hour
  feedkit sample > sample.jsonl       ten thousand made-up events, with a viral post and a like farm
  feedkit replay sample.jsonl         sends them through the pipeline into ./feedkit-data
  feedkit top                         the most liked posts
  feedkit post p1                     one post: author, counts, activity
  feedkit alerts                      the alerts that were raised
  feedkit verify                      recounts everything and compares

Each event is a JSON object on one line:
  {\"userId\":\"u1\",\"postId\":\"p9\",\"type\":\"like\",\"timestamp\":\"2025-01-01T08:00:00Z\"}
type is like, unlike, post or comment. id (a UUIDv7), timestamp, text and attributes are optional.

Every setting is a flag (`feedkit serve --help` shows all), a FEEDKIT_… variable, and a key in the file that --config
names. docs/configuration.md lists them.

Exit codes: 0 done, 1 failed (or verify found differences), 2 bad usage or configuration.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP, WebSocket, server-sent events and a live page, until Ctrl-C
    ///
    /// Accepts events, answers queries, and pushes notifications. All data is in one directory. The
    /// first start creates a secret there, which signs tokens; see `feedkit token`.
    Serve(Box<Serve>),
    /// Print a token that `serve` accepts for the same directory
    Token(Token),
    /// Send files of events through the pipeline
    ///
    /// Replaying a file again adds nothing: a line without an id gets one that is derived from the
    /// file's path, the line's number and its bytes. If a replay was interrupted, run it again. A
    /// line without a timestamp gets the time of the line before plus one millisecond; the first
    /// line of a file is dated one day before the file was first seen. Standard input counts as one
    /// file. For another stream of lines without ids, use another --source.
    Replay(Replay),
    /// Print made-up events: Zipf-distributed posts, a viral post, a like farm
    Sample(Sample),
    /// List the most liked posts, or the trending ones
    Top(Top),
    /// Show one post: author, counts, activity, newest comments
    Post(Post),
    /// List the alerts that the rules raised, newest first
    Alerts(Listing),
    /// List records that were not valid events, and why
    Rejected(Listing),
    /// Recount everything from the raw events and compare. Exit code 1 if anything differs
    Verify(Json),
    /// Compute all totals again from the raw events
    Rebuild,
    /// Print the reference of all settings, in Markdown
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Send made-up traffic, with a viral post and a like farm, into a separate directory
    #[arg(long)]
    pub demo: bool,
    /// Check the settings and the directory, and exit
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub serve: Flags<ServeSections>,
    #[command(flatten)]
    pub engine: Flags<EngineSections>,
}

#[derive(Debug, Args)]
pub struct Token {
    /// The user to act as
    #[arg(long, value_name = "USER")]
    pub sub: UserId,
    /// A role, such as moderator; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// A scope, such as events:write:any, which may write for every user; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// How long the token is valid, such as 30m or 12h
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub ttl: Duration,
    #[command(flatten)]
    pub jwt: Flags<(JwtSection,)>,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// Files of JSON lines; - is standard input (see --source)
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How fast: max, or a multiple of the events' own pace, such as 1 or 60
    #[arg(long, default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// Print the summary as one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// The name from which ids are derived, instead of each file's path. It distinguishes streams
    /// on standard input
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    #[command(flatten)]
    pub engine: Flags<EngineSections>,
}

#[derive(Debug, Args)]
pub struct Sample {
    /// How many events
    #[arg(short = 'n', long, default_value_t = 10_000)]
    pub count: u64,
    /// The seed of the random events. The same seed makes the same events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct Top {
    /// The order of the posts
    #[arg(long, value_enum, default_value = "likes")]
    pub by: By,
    /// How many
    #[arg(short = 'n', long, default_value_t = 10)]
    pub count: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Current likes
    Likes,
    /// Likes that lose half of their weight every six hours; those of old files are tiny
    Trending,
}

#[derive(Debug, Args)]
pub struct Post {
    /// The post's id
    pub id: PostId,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Listing {
    /// Maximum number of lines
    #[arg(short = 'n', long, default_value_t = 100)]
    pub count: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Json {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Speed::Times(factor)),
        _ => Err("expected max, or a number above 0".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::parse(text)
        .filter(|ttl| *ttl >= Duration::from_secs(1))
        .ok_or_else(|| format!("expected {}", Duration::EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("60"), Ok(Speed::Times(60.0)));
        assert!(speed("0").is_err() && speed("-1").is_err() && speed("inf").is_err() && speed("x").is_err());
    }
}
