//! Rules that raise and evict often.

use std::time::Duration;

use feedkit_alerts::RuleSet;
use feedkit_alerts::rules::{Milestone, MilestoneConfig, Spike, SpikeConfig, UserRate, UserRateConfig};
use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::notification::{Audience, Notification, Severity};

/// The standard rules with a configuration that raises and evicts often, and a rule that shows each
/// eviction.
pub(crate) fn sensitive_rules() -> RuleSet {
    let mut spike = SpikeConfig::default();
    spike.window = Duration::from_secs(2);
    spike.min_likes = 4;
    spike.min_factor = 1.5;
    spike.min_score = 1.0;
    spike.baseline = Duration::from_secs(30);
    spike.warm_up = Duration::ZERO;
    spike.cooldown = Duration::from_secs(5);
    spike.max_keys = 60;
    let mut user_rate = UserRateConfig::default();
    user_rate.max_actions = 2;
    user_rate.cooldown = Duration::from_secs(20);
    user_rate.max_keys = 300;
    let mut milestone = MilestoneConfig::default();
    milestone.thresholds = vec![1, 2, 3, 5, 8, 13, 50];
    RuleSet::empty()
        .with(Milestone::new(&milestone).unwrap())
        .with(Spike::new(&spike).unwrap())
        .with(Third)
        .with(UserRate::new(&user_rate).unwrap())
}

/// Raises every third effect of a post since the post was last evicted.
struct Third;

impl AlertRule for Third {
    type State = u32;
    fn name(&self) -> &str {
        "third"
    }
    fn keeping(&self) -> Keeping {
        Keeping::Evictable { max_keys: 40 }
    }
    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        Some(Key::Post(&effect.post))
    }
    fn observe(&self, count: &mut u32, effect: &Effect, context: &mut dyn RuleContext) {
        *count += 1;
        if count.is_multiple_of(3) {
            context.raise(Notification {
                id: format!("third:{}:{}:{}", effect.post, effect.user, effect.time.as_millis()),
                kind: "THIRD".into(),
                severity: Severity::Warning,
                audience: Audience::Post(effect.post.clone()),
                title: format!("{count}"),
                data: Default::default(),
                occurred_at: effect.time,
            });
        }
    }
}
