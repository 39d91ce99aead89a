//! `reference`: docs/configuration.md, made from the settings themselves.

use std::process::ExitCode;

use feedkit_core::Result;
use feedkit_server::settings;

use crate::config::AllSections;
use feedkit_server::output;

const INTRODUCTION: &str = "\
# Configuration

<!-- Made by `feedkit reference > docs/configuration.md`; a test compares the two. -->

Every setting of `feedkit` can be given in three ways. A flag overrides a variable, a variable
overrides the file, and the file overrides the default:

| | |
|---|---|
| a flag | `feedkit serve --rate-limit 600` |
| a variable | `FEEDKIT_RATE_LIMIT=600`; an empty variable counts as not set |
| a file | `rate_limit = 600` in a TOML file that `--config FILE` or `FEEDKIT_CONFIG` names |

```toml
# feedkit.toml
data = \"/var/lib/feedkit\"
listen = \"0.0.0.0:8080\"

[gateway]
trusted_proxies = [\"10.0.0.0/8\"]
max_body_bytes = \"64KiB\"

[jwt]
algorithm = \"ES256\"
jwks_file = \"/etc/feedkit/jwks.json\"

[rules.spike]
min_likes = 50
```

An unknown key or an invalid value ends the program before anything starts, with exit code 2. The
error names the key and where the value comes from. `feedkit serve --check` only checks this, and
exits.

Durations are written `500ms`, `5s` or `1h 30m`; sizes are written `4096`, `256KiB` or `4MB`. A list
is an array in the file; elsewhere its items are separated by commas. A switch is `true` or `false`;
its flag without a value means `true`. Paths are relative to the working directory.

A secret is never the value of a flag, because other users of the machine could see it. It is in a
file, whose bytes count without one newline at the end, or in a variable.
";

/// Prints the reference.
pub fn reference() -> Result<ExitCode> {
    let text = format!("{INTRODUCTION}{}", settings::reference::<AllSections>());
    output::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
