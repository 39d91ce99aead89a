//! Rules from TOML.

use std::fmt;
use std::time::Duration;

use feedkit_core::{Error, Result};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::RuleSet;
use crate::rules::{Milestone, MilestoneConfig, Spike, SpikeConfig, UserRate, UserRateConfig};

/// The table `rules` of a configuration: each of the rules that come with this crate, all of them on unless told
/// otherwise.
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
/// Durations are written `"500ms"`, `"10s"`, `"5m"`, `"1h 30m"`. It deserialises by itself, to be part of a larger
/// configuration under the key `rules`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// `[rules.milestone]`
    pub milestone: MilestoneConfig,
    /// `[rules.spike]`
    pub spike: SpikeConfig,
    /// `[rules.user_rate]`
    pub user_rate: UserRateConfig,
}

impl RulesConfig {
    /// Reads a text that has nothing but the table `rules`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): says where, and which key; of an unknown one also which
    /// there are.
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

    /// The rules that are on.
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

/// A setting of a rule has a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The setting's path in a configuration: `rules.spike.window`.
    pub path: String,
    /// What is wrong with its value: `is 5ms, it must be from 1s to 1h`.
    pub fault: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.fault)
    }
}

impl std::error::Error for InvalidSetting {}

impl From<InvalidSetting> for Error {
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid).
    fn from(invalid: InvalidSetting) -> Self {
        Error::invalid(invalid.to_string()).with_source(invalid)
    }
}

/// A duration as configurations write it.
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
        serde::de::Error::custom(format!("{text:?} is not a duration (such as \"10s\" or \"5m\")"))
    })
}

/// The fault of one key of one rule.
pub(crate) fn invalid(rule: &str, key: &str, fault: impl fmt::Display) -> InvalidSetting {
    InvalidSetting { path: format!("rules.{rule}.{key}"), fault: fault.to_string() }
}

/// A window's length in milliseconds.
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
    Err(invalid(rule, key, format!("is {}, it must be from {} to {}", Span(value), Span(least), Span(most))))
}

/// Checks a bound of keys.
pub(crate) fn max_keys(rule: &str, keys: usize) -> Result<(), InvalidSetting> {
    match keys {
        1..=1_000_000_000 => Ok(()),
        _ => Err(invalid(rule, "max_keys", format!("is {keys}, it must be from 1 to 1000000000"))),
    }
}

/// The data of a notification.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A number for people: three decimals.
pub(crate) fn rounded(value: f64) -> Value {
    Value::from((value * 1000.0).round() / 1000.0)
}
