//! Rules from TOML.

use std::fmt;
use std::time::Duration;

use feedkit_core::{Error, Result};
use serde::{Deserialize, Deserializer};

use crate::RuleSet;
use crate::rules::{Milestone, MilestoneConfig, Spike, SpikeConfig, UserRate, UserRateConfig};

/// The table `rules` of a configuration file, with a table for each rule that comes with this
/// crate.
///
/// A rule runs unless its table says `enabled = false`.
///
/// ```toml
/// [rules.milestone]
/// thresholds = [10, 100, 1000]
///
/// [rules.spike]
/// window = "10s"
/// min_likes = 50
///
/// [rules.user_rate]
/// enabled = false
/// ```
///
/// Durations are written as `"500ms"`, `"10s"`, `"5m"` or `"1h 30m"`. The type implements
/// `Deserialize`, so a larger configuration can include it under the key `rules`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RulesConfig {
    /// The table `[rules.milestone]`.
    pub milestone: MilestoneConfig,
    /// The table `[rules.spike]`.
    pub spike: SpikeConfig,
    /// The table `[rules.user_rate]`.
    pub user_rate: UserRateConfig,
}

impl RulesConfig {
    /// Reads a TOML text that has only the table `rules`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if the text is not such a table. The message
    /// names the place and the key. For an unknown key it also lists the known ones.
    pub fn from_toml(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            rules: RulesConfig,
        }
        let file: File = toml::from_str(text).map_err(|e| Error::invalid(e.to_string()))?;
        file.rules.rule_set()?;
        Ok(file.rules)
    }

    /// Makes the rules that are enabled.
    ///
    /// # Errors
    ///
    /// Names the setting whose value is out of range.
    pub fn rule_set(&self) -> Result<RuleSet, InvalidSetting> {
        let mut set = RuleSet::empty();
        if self.milestone.enabled {
            set = set.with(Milestone::new(&self.milestone)?);
        }
        if self.spike.enabled {
            set = set.with(Spike::new(&self.spike)?);
        }
        if self.user_rate.enabled {
            set = set.with(UserRate::new(&self.user_rate)?);
        }
        Ok(set)
    }
}

/// The value of a rule's setting is out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The setting's path in a configuration, such as `rules.spike.window`.
    pub path: String,
    /// What is wrong with its value, such as `is 5ms; it must be from 1s to 1h`.
    pub fault: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.fault)
    }
}

impl std::error::Error for InvalidSetting {}

impl From<InvalidSetting> for Error {
    /// Makes an [`Invalid`](feedkit_core::ErrorKind::Invalid) error.
    fn from(invalid: InvalidSetting) -> Self {
        Error::invalid(invalid.to_string()).with_source(invalid)
    }
}

/// Writes a duration as configuration files do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(span) => write!(f, "{span:#}"),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

/// Reads a duration such as `"10s"`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    span.ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is not a duration such as \"10s\" or \"5m\""))
    })
}

/// The error for one key of one rule.
pub(crate) fn invalid(rule: &str, key: &str, fault: impl fmt::Display) -> InvalidSetting {
    InvalidSetting { path: format!("rules.{rule}.{key}"), fault: fault.to_string() }
}

/// Checks a window's length, and returns it in milliseconds.
pub(crate) fn window(rule: &str, window: Duration) -> Result<i64, InvalidSetting> {
    within(rule, "window", window, Duration::from_secs(1), Duration::from_secs(3600))?;
    Ok(window.as_millis() as i64)
}

/// Checks that a duration is within bounds.
pub(crate) fn within(
    rule: &str,
    key: &str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), InvalidSetting> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(invalid(rule, key, format!("is {}; it must be from {} to {}", Span(value), Span(least), Span(most))))
}

/// Checks a maximum number of keys.
pub(crate) fn max_keys(rule: &str, keys: usize) -> Result<(), InvalidSetting> {
    match keys {
        1..=1_000_000_000 => Ok(()),
        _ => Err(invalid(rule, "max_keys", format!("is {keys}; it must be from 1 to 1000000000"))),
    }
}
