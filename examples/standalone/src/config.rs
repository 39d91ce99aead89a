//! Settings: flags before variables before the file.

use std::path::PathBuf;

use feedkit_alerts::RulesConfig;
use serde::Deserialize;

use crate::cli::Common;

/// All settings, complete.
#[derive(Debug)]
pub struct Config {
    /// The directory that holds everything.
    pub data: PathBuf,
    /// What to log.
    pub log: String,
    /// Days that raw events are kept.
    pub keep_events_days: u64,
    /// Days that the journal reaches back beyond the slowest follower.
    pub keep_journal_days: u64,
    /// Days that records stay in the log after they were read.
    pub keep_log_days: u64,
    /// Kinds of events besides like, unlike, post and comment.
    pub extra_kinds: Vec<String>,
    /// The alert rules' settings.
    pub rules: RulesConfig,
}

/// The file's form.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    log: Option<String>,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    events: Events,
    #[serde(default)]
    rules: RulesConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retention {
    events_days: Option<u64>,
    journal_days: Option<u64>,
    log_days: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    #[serde(default)]
    extra_kinds: Vec<String>,
}

impl Config {
    /// Reads the file, if one is named, and lets the command line go before it. The error names file and key.
    pub fn load(common: &Common) -> Result<Config, String> {
        let file = match &common.config {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?
            }
        };
        file.rules.rule_set().map_err(|e| format!("rules: {e}"))?;
        for kind in &file.events.extra_kinds {
            if !matches!(feedkit_core::EventKind::new(kind), Some(feedkit_core::EventKind::Other(_))) {
                return Err(format!(
                    "events.extra_kinds: {kind:?} is no name for a kind (a-z, 0-9 and _, at most 32, not a standard kind)"
                ));
            }
        }
        let config = Config {
            data: common.data.clone().or(file.data).unwrap_or_else(|| "feedkit-data".into()),
            log: common.log.clone().or(file.log).unwrap_or_else(|| "warn".to_owned()),
            keep_events_days: file.retention.events_days.unwrap_or(3653),
            keep_journal_days: file.retention.journal_days.unwrap_or(1),
            keep_log_days: file.retention.log_days.unwrap_or(7),
            extra_kinds: file.events.extra_kinds,
            rules: file.rules,
        };
        // A replay dates ids a day back; the alerts recover from a journal that is at most minutes behind.
        for (key, days, least) in
            [("events_days", config.keep_events_days, 2), ("journal_days", config.keep_journal_days, 1)]
        {
            if days < least {
                return Err(format!("retention.{key}: is {days}, the least is {least}"));
            }
        }
        Ok(config)
    }
}
