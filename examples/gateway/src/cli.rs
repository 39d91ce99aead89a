//! The command line.

use clap::Parser;
use feedkit_server::settings::{ConfigFile, Flags};

use crate::config::AllSections;

/// Takes events into Kafka over HTTP, answers questions from Redis and PostgreSQL, and pushes notifications over WebSocket
/// and server-sent events. Any number of gateways work side by side.
#[derive(Debug, Parser)]
#[command(name = "feedkit-gateway", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub settings: Flags<AllSections>,
    /// Check the settings, reach the services, and exit
    #[arg(long)]
    pub check: bool,
    /// Print the reference of all settings, in Markdown
    #[arg(long, hide = true)]
    pub reference: bool,
}

const EXAMPLES: &str = "\
Examples:
  feedkit-gateway --listen 0.0.0.0:8080 --kafka broker:9092 --postgres postgres://feedkit@db/feedkit \\
      --redis redis://cache --jwt-secret-file /etc/feedkit/jwt-secret
  feedkit-gateway --config /etc/feedkit/gateway.toml --check

`feedkit-processor create-topics` makes the topics. Every setting is a flag (--help shows all), a FEEDKIT_… variable, and a
key of the file that --config names. docs/configuration-gateway.md lists them, docs/operations.md says what to do when something
fails.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration.";

/// What stands before the reference.
pub const INTRODUCTION: &str = "\
# Configuration of feedkit-gateway

<!-- Made by `feedkit-gateway --reference > docs/configuration-gateway.md`; a test compares the two. -->

[How settings are given](configuration.md) is the same for all programs: a flag goes before a variable, a variable before the file
that `--config` names, the file before the default. `feedkit-gateway --check` looks at the settings, reaches the services and
exits.

In the table `[kafka.properties]` of the file any property of
[librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md) can be set, such as
`\"security.protocol\" = \"sasl_ssl\"`; those that exactness rests on are refused.
";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let wanted = ["--listen", "--kafka", "--redis", "--postgres", "--jwt-secret-file", "--rate-limit"];
        let help = Cli::command().render_long_help().to_string();
        for flag in wanted {
            assert!(help.contains(flag), "{flag}");
        }
    }
}
