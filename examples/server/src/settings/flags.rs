//! Settings on the command line.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{Key, Sections};

/// The values that flags have set, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given(pub(super) BTreeMap<String, String>);

impl Given {
    /// These, and those of other sections.
    #[must_use]
    pub fn and(mut self, others: Given) -> Given {
        self.0.extend(others.0);
        self
    }

    /// Whether a flag has set the key at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}

/// The flags of the sections `S`, to flatten into a command line of `clap`. If they are `GLOBAL`,
/// they may also follow a subcommand.
#[derive(Debug, Clone)]
pub struct Flags<S, const GLOBAL: bool = false> {
    /// The values that were set.
    pub given: Given,
    sections: PhantomData<fn() -> S>,
}

/// The flag that names the file.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// A TOML file with settings; flags and variables override it
    #[arg(long, global = true, value_name = "FILE", env = "FEEDKIT_CONFIG")]
    pub config: Option<PathBuf>,
}

impl<S: Sections, const GLOBAL: bool> Args for Flags<S, GLOBAL> {
    fn augment_args(command: Command) -> Command {
        S::described().into_iter().fold(command, |command, (table, _, keys)| {
            let heading = if table.is_empty() { None } else { Some(format!("Settings of [{table}]")) };
            keys.iter().fold(command, |command, key| {
                let arg = arg(key).global(GLOBAL);
                command.arg(match &heading {
                    Some(heading) => arg.help_heading(heading.clone()),
                    None => arg,
                })
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(key: &Key) -> Arg {
    let mut notes = String::new();
    if let Some(default) = &key.default {
        notes.push_str(&format!(" [default: {default}]"));
    }
    notes.push_str(&format!(" [env: {}]", key.variable()));
    let arg = Arg::new(key.path())
        .long(key.long())
        .action(ArgAction::Set)
        .value_name(key.kind.to_uppercase())
        .help(format!("{}{notes}", key.summary()))
        .long_help(format!("{}\n{}", key.help, notes.trim_start()))
        // Common settings are at the top of the file; `--help` shows all.
        .hide_short_help(!key.table.is_empty());
    match key.switch {
        true => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => arg,
    }
}

impl<S: Sections, const GLOBAL: bool> FromArgMatches for Flags<S, GLOBAL> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Given::default();
        for key in S::keys() {
            let path = key.path();
            if matches.value_source(&path) == Some(ValueSource::CommandLine)
                && let Some(text) = matches.get_one::<String>(&path)
            {
                given.0.insert(path, text.clone());
            }
        }
        Ok(Flags { given, sections: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
