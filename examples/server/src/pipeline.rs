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
    /// How long data is kept.
    pub struct RetentionSection in "retention" as "retention_" {
        /// How many days raw events are kept. Totals are kept forever. At least 2.
        events_days: u64 = 3653,
        /// How many days of the journal are kept behind the slowest follower. At least 1.
        journal_days: u64 = 1,
    }
}

crate::settings! {
    /// Which events are accepted.
    pub struct EventsSection in "events" as "events_" {
        /// More kinds of events than `like`, `unlike`, `post` and `comment`; for example `share`.
        extra_kinds: Vec<String> = Vec::new(),
    }
}

crate::settings! {
    /// The rule that tells authors how many likes their posts have.
    pub struct MilestoneSection in "rules.milestone" as "milestone_" {
        /// Whether the rule runs.
        enabled: bool = MilestoneConfig::default().enabled,
        /// The counts of likes that authors are told about, in ascending order.
        thresholds: Vec<i64> = MilestoneConfig::default().thresholds,
    }
}

crate::settings! {
    /// The rule that notices when likes of a post come much faster than usual.
    pub struct SpikeSection in "rules.spike" as "spike_" {
        /// Whether the rule runs.
        enabled: bool = SpikeConfig::default().enabled,
        /// How much event time is compared with the baseline.
        window: Duration = SpikeConfig::default().window,
        /// Minimum likes in a window for a notice.
        min_likes: u32 = SpikeConfig::default().min_likes,
        /// How many times the expected number of likes is needed for a notice.
        min_factor: f64 = SpikeConfig::default().min_factor,
        /// How improbable the likes must be by chance, as a natural logarithm.
        min_score: f64 = SpikeConfig::default().min_score,
        /// The time constant of a post's usual rate. It must be longer than ten windows.
        baseline: Duration = SpikeConfig::default().baseline,
        /// How long a post is observed before the rule judges it. At most the baseline.
        warm_up: Duration = SpikeConfig::default().warm_up,
        /// How long after a notice no other notice about the same post is raised.
        cooldown: Duration = SpikeConfig::default().cooldown,
        /// Maximum posts in memory.
        max_keys: usize = SpikeConfig::default().max_keys,
    }
}

crate::settings! {
    /// The rule that notices users who act faster than a person can.
    pub struct UserRateSection in "rules.user_rate" as "user_rate_" {
        /// Whether the rule runs.
        enabled: bool = UserRateConfig::default().enabled,
        /// The length of the window, in event time, in which actions are counted.
        window: Duration = UserRateConfig::default().window,
        /// Maximum actions of a person in one window.
        max_actions: u32 = UserRateConfig::default().max_actions,
        /// How long after a notice the same user is not reported again.
        cooldown: Duration = UserRateConfig::default().cooldown,
        /// Maximum users in memory.
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

    /// Which events are accepted.
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
