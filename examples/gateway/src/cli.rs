//! The command line.

use clap::Parser;
use feedkit_server::settings::{ConfigFile, Flags};

use crate::settings::AllSections;

/// Takes events over HTTP and writes them to Kafka, answers reads from Redis and PostgreSQL, and
/// pushes notifications over WebSocket and server-sent events. Any number of gateways can run side
/// by side.
#[derive(Debug, Parser)]
#[command(name = "feedkit-gateway", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub settings: Flags<AllSections>,
    /// Check the settings and the connections to all services, then exit
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

`feedkit-processor create-topics` creates the topics. Every setting is a flag (--help lists them), a
FEEDKIT_… variable, and a key of the file that --config names. docs/configuration-gateway.md describes
the settings. docs/operations.md says what to do when something fails.

Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.";

/// The introduction of the reference.
pub const INTRODUCTION: &str = "\
# Configuration of feedkit-gateway

<!-- Made by `feedkit-gateway --reference > docs/configuration-gateway.md`. A test compares the two. -->

[Settings are given](configuration.md) in the same way for all programs. A flag overrides a variable,
a variable overrides the file that `--config` names, and the file overrides the default.
`feedkit-gateway --check` checks the settings and the connections to all services, then exits.

The table `[kafka.properties]` of the file takes any property of
[librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md), such as
`\"security.protocol\" = \"sasl_ssl\"`. A few properties are refused, because exactness depends on
their values.
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
