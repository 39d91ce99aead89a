//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use feedkit_core::json_lines::Speed;
use feedkit_core::{PostId, UserId};
use feedkit_server::gateway::JwtSection;
use feedkit_server::settings::{ConfigFile, Flags, Given, Value};

use crate::config::{EngineSections, GeneralSection, ServeSections};

/// A real-time social feed in one program: takes likes, posts and comments, counts each exactly once, watches for
/// anomalies, and tells those concerned. Everything lies in one directory; no service is needed.
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
    /// What flags have set, whatever the command.
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
  feedkit serve                       the same on ./feedkit-data, empty at first
  feedkit token --sub ann             a token, to act as the user ann for an hour
  feedkit sample > sample.jsonl       ten thousand made-up events, a viral post and a like farm among them
  feedkit replay sample.jsonl         through the whole pipeline, into ./feedkit-data
  feedkit top                         the most liked posts
  feedkit post p1                     one post: author, counts, activity
  feedkit alerts                      what was raised
  feedkit verify                      recounts everything and compares

An event is one JSON object a line:
  {\"userId\":\"u1\",\"postId\":\"p9\",\"type\":\"like\",\"timestamp\":\"2025-01-01T08:00:00Z\"}
type is like, unlike, post or comment; id (a UUIDv7), timestamp, text and attributes may be left out.

Every setting is a flag (`feedkit serve --help` shows all), a FEEDKIT_… variable, and a key of the file that --config
names; docs/configuration.md lists them.

Exit codes: 0 done, 1 failed (or verify found differences), 2 bad usage or configuration.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP, WebSocket, server-sent events and a live page, until Ctrl-C
    ///
    /// Takes events in, answers questions, and pushes notifications, from and into one directory. The first start
    /// makes a secret there, with which tokens are signed; see `feedkit token`.
    Serve(Box<Serve>),
    /// Print a token that `serve` on the same directory believes
    Token(Token),
    /// Send files of events through the pipeline
    ///
    /// Sending a file again adds nothing: a line without an id gets one that follows from the file's path, the
    /// line's number and its bytes. So a replay that was cut off is simply run again. A line without a timestamp
    /// follows the one before by a millisecond; the first of a file is dated a day before the file was first seen.
    /// Standard input counts as one file: for another stream of lines without ids, give another --source.
    Replay(Replay),
    /// Print made-up events: Zipf-distributed posts, a viral post, a like farm
    Sample(Sample),
    /// The most liked posts, or those that trend
    Top(Top),
    /// One post: author, counts, activity, newest comments
    Post(Post),
    /// What the rules raised, newest first
    Alerts(Listing),
    /// Records that were not valid events, and why
    Rejected(Listing),
    /// Recount everything from the raw events and compare; exit code 1 if anything differs
    Verify(Json),
    /// Compute all totals anew from the raw events
    Rebuild,
    /// Print the reference of all settings, in Markdown
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Play made-up traffic, with a post that goes viral and a like farm, into a directory of its own
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
    /// How long it is valid, such as 30m, 12h
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub ttl: Duration,
    #[command(flatten)]
    pub jwt: Flags<(JwtSection,)>,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// JSON lines; - is standard input (see --source)
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// max, or how many times their own pace: 1, 60, …
    #[arg(long, default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// End with one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// The name from which ids follow, instead of each file's path; tells streams on standard input apart
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
    /// Another seed makes other events; the same one makes the same
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct Top {
    /// What to order by
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
    /// Likes that stand
    Likes,
    /// Likes that fade, half of them each six hours: those of old files are tiny
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
    /// At most so many
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
