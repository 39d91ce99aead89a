use std::time::Duration;

use feedkit_core::AlertRule;
use feedkit_core::alert::{Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::notification::{Audience, Notification, Severity};
use serde::{Deserialize, Serialize};

use super::window::{BUCKETS, Placed, Window};
use crate::config::{self, InvalidSetting, Span, invalid, object};

/// Notices users who act faster than a person can.
///
/// Counts a user's actions of any kind in a sliding window of event time (ten buckets, so that the window is right
/// to a tenth of its length), and raises when there are more than `max_actions`. Only actions with an effect
/// count: liking one post a hundred times is one action. A fixed limit and not a statistic, because what a person
/// can do does not depend on what this person did before. After a notice there is none about the same user for
/// `cooldown`.
///
/// Tuning: reading and tapping, a quick person manages two or three likes a second for a few seconds; the
/// default of 30 in 10 s is beyond what one keeps up. Clients that collect actions offline and send them with
/// the times at which they happened do no harm.
///
/// Raises `FRAUD` to the role `moderator`, with the id `user_rate:USER:MILLIS` and `data` `{userId, rule, rate,
/// expected, score, window, sampleUsers}`: `rate` and `expected` (the limit) in actions a second, `score` their
/// quotient.
#[derive(Debug, Clone)]
pub struct UserRate {
    config: UserRateConfig,
    bucket_ms: i64,
}

/// How [`UserRate`] is set: `[rules.user_rate]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserRateConfig {
    /// Whether the rule runs.
    pub enabled: bool,
    /// Over how much event time actions are counted; from 1 s to 1 h.
    #[serde(deserialize_with = "config::duration")]
    pub window: Duration,
    /// How many a person may do in a window.
    pub max_actions: u32,
    /// How long the same user is not reported again.
    #[serde(deserialize_with = "config::duration")]
    pub cooldown: Duration,
    /// Most users remembered; those who did nothing for longest go first. 80 bytes each.
    pub max_keys: usize,
}

impl Default for UserRateConfig {
    /// More than 30 actions in 10 s, once in 10 minutes, a million users.
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

/// What [`UserRate`] remembers of a user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UserRateState {
    window: Window<bool>,
    /// In milliseconds; counts if the window's tag, which says whether anything was raised yet, is set.
    raised_at: i64,
}

impl UserRate {
    /// The rule.
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

    fn notice(&self, actions: u32, effect: &Effect) -> Notification {
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
                ("rate", config::rounded(rate)),
                ("expected", config::rounded(expected)),
                ("score", config::rounded(rate / expected)),
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
        context.raise(self.notice(state.window.total(), effect));
    }
}
