//! The settings of a pipeline: accepted events, rules, and retention.

use std::collections::BTreeSet;
use std::time::Duration;

use feedkit_alerts::rules::{MilestoneConfig, SpikeConfig, UserRateConfig};
use feedkit_alerts::{InvalidSetting, RulesConfig};
use feedkit_core::history::RetentionPolicy;
use feedkit_core::{EventKind, EventPolicy};

use crate::Failure;
use crate::settings::{Layers, Sections};

crate::settings! {
    /// How long the history keeps data.
    pub struct RetentionSection in "retention" as "retention_" {
        /// How many days raw events are kept, measured from the time in their ids. Totals are kept
        /// forever. The minimum is 2.
        events_days: u64 = 3653,
        /// How many days of the journal are kept before the position of the slowest follower. The
        /// minimum is 1.
        journal_days: u64 = 1,
    }
}

crate::settings! {
    /// The events that are accepted.
    pub struct EventsSection in "events" as "events_" {
        /// Further kinds of events to accept, besides `like`, `unlike`, `post` and `comment`; for
        /// example `share`.
        extra_kinds: Vec<String> = Vec::new(),
    }
}

crate::settings! {
    /// The rule that tells authors how many likes their posts have.
    pub struct MilestoneSection in "rules.milestone" as "milestone_" {
        /// Whether the rule runs.
        enabled: bool = MilestoneConfig::default().enabled,
        /// The numbers of likes of a post at which its author is notified, in ascending order.
        thresholds: Vec<i64> = MilestoneConfig::default().thresholds,
    }
}

crate::settings! {
    /// The rule that notices when likes of a post come much faster than usual.
    pub struct SpikeSection in "rules.spike" as "spike_" {
        /// Whether the rule runs.
        enabled: bool = SpikeConfig::default().enabled,
        /// The length of the window, in event time, in which likes of a post are counted. From 1 s
        /// to 1 h.
        window: Duration = SpikeConfig::default().window,
        /// Minimum number of likes in a window that raises an alert.
        min_likes: u32 = SpikeConfig::default().min_likes,
        /// Minimum ratio of the likes in a window to the expected number that raises an alert.
        min_factor: f64 = SpikeConfig::default().min_factor,
        /// Minimum score of a window that raises an alert. The score is the natural logarithm of
        /// how improbable that many likes are by chance.
        min_score: f64 = SpikeConfig::default().min_score,
        /// The time constant of the average that gives the usual rate of a post. It must be at
        /// least ten windows.
        baseline: Duration = SpikeConfig::default().baseline,
        /// How long a post is observed before the rule can raise an alert for it. At most
        /// `baseline`.
        warm_up: Duration = SpikeConfig::default().warm_up,
        /// How long after an alert the rule raises no other alert for the same post.
        cooldown: Duration = SpikeConfig::default().cooldown,
        /// Maximum number of posts in memory, at 80 bytes each. The least recently liked posts are
        /// dropped first.
        max_keys: usize = SpikeConfig::default().max_keys,
    }
}

crate::settings! {
    /// The rule that notices users who act faster than a person can.
    pub struct UserRateSection in "rules.user_rate" as "user_rate_" {
        /// Whether the rule runs.
        enabled: bool = UserRateConfig::default().enabled,
        /// The length of the window, in event time, in which the actions of a user are counted.
        /// From 1 s to 1 h.
        window: Duration = UserRateConfig::default().window,
        /// Maximum number of actions in one window that raises no alert.
        max_actions: u32 = UserRateConfig::default().max_actions,
        /// How long after an alert the rule raises no other alert for the same user.
        cooldown: Duration = UserRateConfig::default().cooldown,
        /// Maximum number of users in memory, at 80 bytes each. The least recently active users are
        /// dropped first.
        max_keys: usize = UserRateConfig::default().max_keys,
    }
}

/// The sections of a pipeline.
pub type PipelineSections =
    (RetentionSection, EventsSection, MilestoneSection, SpikeSection, UserRateSection);

/// A pipeline's settings, checked.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    /// The rules that run.
    pub rules: RulesConfig,
    retention: RetentionSection,
    events: EventsSection,
}

impl PipelineSettings {
    /// The settings in effect, among the sections `S` of a program.
    ///
    /// # Errors
    ///
    /// Names the key, and where its wrong value comes from.
    pub fn load<S: Sections>(layers: &Layers) -> Result<Self, Failure> {
        let (retention, events, milestone, spike, user_rate) = PipelineSections::load(layers)?;
        let rules = rules(milestone, spike, user_rate);
        check_rules::<S>(&rules, layers)?;
        check::<S>(&retention, &events, layers)?;
        Ok(PipelineSettings { rules, retention, events })
    }

    /// When the history deletes data.
    pub fn retention(&self) -> RetentionPolicy {
        RetentionPolicy::default()
            .events(days(self.retention.events_days))
            .journal(days(self.retention.journal_days))
    }

    /// The events that are accepted.
    pub fn event_policy(&self) -> EventPolicy {
        policy(&self.retention, &self.events)
    }
}

/// Which events are accepted, for a program without a pipeline. Its sections `S` must contain these
/// two.
///
/// # Errors
///
/// Names the key, and where its wrong value comes from.
pub fn event_policy<S: Sections>(
    retention: &RetentionSection,
    events: &EventsSection,
    layers: &Layers,
) -> Result<EventPolicy, Failure> {
    check::<S>(retention, events, layers)?;
    Ok(policy(retention, events))
}

fn policy(retention: &RetentionSection, events: &EventsSection) -> EventPolicy {
    EventPolicy::default()
        .extra_kinds(BTreeSet::from_iter(events.extra_kinds.iter().cloned()))
        .horizon(days(retention.events_days))
}

/// This number of days, as a duration.
pub fn days(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(86_400))
}

fn check<S: Sections>(
    retention: &RetentionSection,
    events: &EventsSection,
    layers: &Layers,
) -> Result<(), Failure> {
    for kind in &events.extra_kinds {
        if !matches!(EventKind::new(kind), Some(EventKind::Other(_))) {
            let fault = format!(
                "{kind:?} is not a valid kind (a-z, 0-9 and _, at most 32 characters, not a standard kind)"
            );
            return Err(layers.fault::<S>("events.extra_kinds", fault));
        }
    }
    // A replay dates ids one day back. Alerts recover from a journal that is at most minutes
    // behind.
    for (key, days, least) in [
        ("retention.events_days", retention.events_days, 2),
        ("retention.journal_days", retention.journal_days, 1),
    ] {
        if days < least {
            return Err(layers.fault::<S>(key, format!("is {days}, but the minimum is {least}")));
        }
    }
    Ok(())
}

fn rules(milestone: MilestoneSection, spike: SpikeSection, user_rate: UserRateSection) -> RulesConfig {
    let mut rules = RulesConfig::default();
    rules.milestone.enabled = milestone.enabled;
    rules.milestone.thresholds = milestone.thresholds;
    rules.spike.enabled = spike.enabled;
    rules.spike.window = spike.window;
    rules.spike.min_likes = spike.min_likes;
    rules.spike.min_factor = spike.min_factor;
    rules.spike.min_score = spike.min_score;
    rules.spike.baseline = spike.baseline;
    rules.spike.warm_up = spike.warm_up;
    rules.spike.cooldown = spike.cooldown;
    rules.spike.max_keys = spike.max_keys;
    rules.user_rate.enabled = user_rate.enabled;
    rules.user_rate.window = user_rate.window;
    rules.user_rate.max_actions = user_rate.max_actions;
    rules.user_rate.cooldown = user_rate.cooldown;
    rules.user_rate.max_keys = user_rate.max_keys;
    rules
}

/// The rules check their own settings. The path of a setting is the same in the program's
/// configuration.
fn check_rules<S: Sections>(rules: &RulesConfig, layers: &Layers) -> Result<(), Failure> {
    match rules.rule_set() {
        Ok(_) => Ok(()),
        Err(InvalidSetting { path, fault, .. }) => Err(layers.fault::<S>(&path, fault)),
    }
}
