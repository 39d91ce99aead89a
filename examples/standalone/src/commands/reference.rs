//! `reference`: docs/configuration.md, made from the settings themselves.

use std::process::ExitCode;

use feedkit_core::Result;
use feedkit_server::settings;

use crate::config::AllSections;
use feedkit_server::output;

const INTRODUCTION: &str = "\
# Configuration

<!-- Made by `feedkit reference > docs/configuration.md`; a test compares the two. -->

Every setting of `feedkit` can be given in three ways. A flag goes before a variable, a variable before the file, the file
before the default:

| | |
|---|---|
| a flag | `feedkit serve --rate-limit 600` |
| a variable | `FEEDKIT_RATE_LIMIT=600`; an empty one counts as not set |
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

An unknown key or a value that cannot be is refused before anything is started, with exit code 2, the key and the place
that it comes from. `feedkit serve --check` does that and exits.

Durations are written `500ms`, `5s`, `1h 30m`; sizes `4096`, `256KiB`, `4MB`. A list is an array in the file, and separated by
commas elsewhere. A switch is `true` or `false`; its flag alone means `true`. Paths are relative to the working directory.

A secret is never a flag's value, which other users of a machine could see: it is in a file, of which the raw bytes count, less
one newline at the end, or in a variable.
";

/// Prints the reference.
pub fn reference() -> Result<ExitCode> {
    let text = format!("{INTRODUCTION}{}", settings::reference::<AllSections>());
    output::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
