//! The configuration of the rule.

use std::time::Duration;

use serde::Deserialize;

use crate::config::{self, InvalidSetting, invalid};

/// The configuration of [`Spike`](super::Spike): the table `[rules.spike]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SpikeConfig {
    /// Whether the rule runs.
    pub enabled: bool,
    /// How much event time is compared with the baseline: from 1 s to 1 h.
    #[serde(deserialize_with = "config::duration")]
    pub window: Duration,
    /// Minimum number of likes in a window that raises an alert.
    pub min_likes: u32,
    /// Minimum ratio of likes in the window to the expected number.
    pub min_factor: f64,
    /// Minimum score: how improbable the window is by chance, as a natural logarithm.
    pub min_score: f64,
    /// The time constant of the post's usual rate: at least ten windows.
    #[serde(deserialize_with = "config::duration")]
    pub baseline: Duration,
    /// How long a post is watched before it is judged: at most `baseline`.
    #[serde(deserialize_with = "config::duration")]
    pub warm_up: Duration,
    /// How long after an alert no other is raised for the same post.
    #[serde(deserialize_with = "config::duration")]
    pub cooldown: Duration,
    /// Maximum number of posts in memory, at 80 bytes each. The least recently liked are dropped
    /// first.
    pub max_keys: usize,
}

impl Default for SpikeConfig {
    /// A window of 10 s against a baseline of 10 minutes. At least 20 likes, four times the
    /// expected number and a score of 22. A warm-up of 3 minutes, one alert in 10 minutes, and a
    /// million posts.
    fn default() -> Self {
        SpikeConfig {
            enabled: true,
            window: Duration::from_secs(10),
            min_likes: 20,
            min_factor: 4.0,
            min_score: 22.0,
            baseline: Duration::from_secs(600),
            warm_up: Duration::from_secs(180),
            cooldown: Duration::from_secs(600),
            max_keys: 1_000_000,
        }
    }
}

impl SpikeConfig {
    /// Checks all values, and returns the window's length in milliseconds.
    pub(super) fn check(&self) -> Result<i64, InvalidSetting> {
        let window_ms = config::window("spike", self.window)?;
        let day = Duration::from_secs(86_400);
        config::within("spike", "baseline", self.baseline, self.window * 10, 30 * day)?;
        config::within("spike", "warm_up", self.warm_up, Duration::ZERO, self.baseline)?;
        config::within("spike", "cooldown", self.cooldown, Duration::ZERO, 365 * day)?;
        config::max_keys("spike", self.max_keys)?;
        if self.min_likes == 0 {
            return Err(invalid("spike", "min_likes", "is 0; it must be at least 1"));
        }
        if self.min_factor.is_nan() || self.min_factor < 1.5 {
            return Err(invalid(
                "spike",
                "min_factor",
                format!("is {}; it must be at least 1.5", self.min_factor),
            ));
        }
        if self.min_score.is_nan() || self.min_score < 1.0 {
            return Err(invalid(
                "spike",
                "min_score",
                format!("is {}; it must be at least 1", self.min_score),
            ));
        }
        Ok(window_ms)
    }
}
