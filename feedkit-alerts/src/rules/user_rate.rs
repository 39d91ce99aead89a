//! Users who act too fast.

use std::time::Duration;

use feedkit_core::AlertRule;
use feedkit_core::alert::{Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::notification::{Audience, Notification, Severity};
use serde::{Deserialize, Serialize};

use super::data::{object, rounded};
use super::window::{BUCKETS, Placed, Window};
use crate::config::{self, InvalidSetting, Span, invalid};

/// Detects users who act faster than a person can.
///
/// The rule counts a user's actions of any kind in a sliding window of event time. The window has
/// ten buckets, so it is accurate to a tenth of its length. The rule raises an alert when the
/// window has more than `max_actions`. Only actions with an effect count: liking one post a hundred
/// times is one action. After an alert, the rule raises none for the same user during `cooldown`.
///
/// The limit is fixed, because what a person can do does not depend on what this person did before.
///
/// # Tuning
///
/// While reading and tapping, a quick person manages two or three likes a second for a few seconds.
/// Nobody keeps up the default of 30 in 10 s for long. Clients that collect actions offline cause
/// no false alarm, if they send each action with the time at which it happened.
///
/// # Alerts
///
/// Raises `FRAUD` to the role `moderator`, with the id `user_rate:USER:MILLIS` and the `data`
/// `{userId, rule, rate, expected, score, window, sampleUsers}`. `rate` and `expected` are in
/// actions a second; `expected` is the limit, and `score` is `rate` divided by `expected`.
#[derive(Debug, Clone)]
pub struct UserRate {
    config: UserRateConfig,
    bucket_ms: i64,
}

/// The configuration of [`UserRate`]: the table `[rules.user_rate]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct UserRateConfig {
    /// Whether the rule runs.
    pub enabled: bool,
    /// How much event time the window covers: from 1 s to 1 h.
    #[serde(deserialize_with = "config::duration")]
    pub window: Duration,
    /// Maximum number of actions in a window that raises no alert.
    pub max_actions: u32,
    /// How long after an alert no other is raised for the same user.
    #[serde(deserialize_with = "config::duration")]
    pub cooldown: Duration,
    /// Maximum number of users in memory, at 80 bytes each. The least recently active are dropped
    /// first.
    pub max_keys: usize,
}

impl Default for UserRateConfig {
    /// More than 30 actions in 10 s, one alert in 10 minutes, and a million users.
    fn default() -> Self {
        UserRateConfig {
            enabled: true,
            window: Duration::from_secs(10),
            max_actions: 30,
            cooldown: Duration::from_secs(600),
            max_keys: 1_000_000,
        }
    }
}

/// The state that [`UserRate`] keeps for each user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UserRateState {
    window: Window<bool>,
    /// When the last alert was raised, in milliseconds. Valid if the window's tag is set, which
    /// says that an alert was raised.
    raised_at: i64,
}

impl UserRate {
    /// Makes the rule.
    ///
    /// # Errors
    ///
    /// Names the setting whose value is out of range.
    pub fn new(config: &UserRateConfig) -> Result<Self, InvalidSetting> {
        let bucket_ms = config::window("user_rate", config.window)? / BUCKETS as i64;
        if config.max_actions == 0 || config.max_actions > 100_000 {
            return Err(invalid("user_rate", "max_actions", "must be from 1 to 100000"));
        }
        config::max_keys("user_rate", config.max_keys)?;
        Ok(UserRate { config: config.clone(), bucket_ms })
    }

    fn fraud(&self, actions: u32, effect: &Effect) -> Notification {
        let seconds = self.config.window.as_secs_f64();
        let (rate, expected) = (f64::from(actions) / seconds, f64::from(self.config.max_actions) / seconds);
        let user = &effect.user;
        Notification {
            id: format!("user_rate:{user}:{}", effect.time.as_millis()),
            kind: "FRAUD".into(),
            severity: Severity::Critical,
            audience: Audience::Role("moderator".into()),
            title: format!("{user} acted {actions} times within {}", Span(self.config.window)),
            data: object([
                ("userId", user.as_str().into()),
                ("rule", self.name().into()),
                ("rate", rounded(rate)),
                ("expected", rounded(expected)),
                ("score", rounded(rate / expected)),
                ("window", Span(self.config.window).to_string().into()),
                ("sampleUsers", vec![user.as_str()].into()),
            ]),
            occurred_at: effect.time,
        }
    }
}

impl AlertRule for UserRate {
    type State = UserRateState;

    fn name(&self) -> &str {
        "user_rate"
    }

    fn keeping(&self) -> Keeping {
        Keeping::Evictable { max_keys: self.config.max_keys }
    }

    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        Some(Key::User(&effect.user))
    }

    fn observe(&self, state: &mut UserRateState, effect: &Effect, context: &mut dyn RuleContext) {
        let now = effect.time.as_millis();
        let placed = state.window.count(now.div_euclid(self.bucket_ms), |_| ());
        if placed == Placed::Late || state.window.total() <= self.config.max_actions {
            return;
        }
        let cooldown = i64::try_from(self.config.cooldown.as_millis()).unwrap_or(i64::MAX);
        if state.window.tag && now.saturating_sub(state.raised_at) < cooldown {
            return;
        }
        (state.window.tag, state.raised_at) = (true, now);
        context.raise(self.fraud(state.window.total(), effect));
    }
}
