//! The program's settings: which there are, and what is made of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use feedkit_alerts::RulesConfig;
use feedkit_alerts::rules::{MilestoneConfig, SpikeConfig, UserRateConfig};
use feedkit_core::history::RetentionPolicy;
use feedkit_core::{EventKind, EventPolicy};
use feedkit_server::gateway::{FrontSection, GatewaySection, JwtSection, LiveSection};
use feedkit_server::settings::{Layers, Origin, Sections};
use feedkit_server::{Failure, logs, settings};

settings! {
    /// What every command takes.
    pub struct GeneralSection in "" {
        /// The directory that holds everything.
        /// With `serve --demo` the default is `feedkit-demo`.
        data: PathBuf = "feedkit-data".into(),
        /// What to log to standard error: error, warn, info, debug, or a filter as `feedkit_core=debug,warn`.
        log: String = "warn".to_owned(),
        /// How a line of the log looks: `text` or `json`.
        log_format: logs::Format = logs::Format::Text,
    }
}

settings! {
    /// How long things are kept.
    pub struct RetentionSection in "retention" as "retention_" {
        /// Days that raw events are kept; totals stay. At least 2.
        events_days: u64 = 3653,
        /// Days that the journal reaches back beyond the slowest follower. At least 1.
        journal_days: u64 = 1,
        /// Days that records stay in the log after they were read.
        log_days: u64 = 7,
    }
}

settings! {
    /// What is taken in.
    pub struct EventsSection in "events" as "events_" {
        /// Kinds of events besides `like`, `unlike`, `post` and `comment`, such as `share`.
        extra_kinds: Vec<String> = Vec::new(),
    }
}

settings! {
    /// The rule that tells authors how many likes their posts have.
    pub struct MilestoneSection in "rules.milestone" as "milestone_" {
        /// Whether the rule runs.
        enabled: bool = MilestoneConfig::default().enabled,
        /// The counts of likes to be told of, ascending.
        thresholds: Vec<i64> = MilestoneConfig::default().thresholds,
    }
}

settings! {
    /// The rule that notices likes of a post that come far faster than usual.
    pub struct SpikeSection in "rules.spike" as "spike_" {
        /// Whether the rule runs.
        enabled: bool = SpikeConfig::default().enabled,
        /// How much event time is held against the baseline.
        window: Duration = SpikeConfig::default().window,
        /// The fewest likes in a window that are worth a notice.
        min_likes: u32 = SpikeConfig::default().min_likes,
        /// How many times what is expected.
        min_factor: f64 = SpikeConfig::default().min_factor,
        /// How improbable by chance, as the natural logarithm.
        min_score: f64 = SpikeConfig::default().min_score,
        /// The time constant of what a post's usual rate is; longer than ten windows.
        baseline: Duration = SpikeConfig::default().baseline,
        /// How long a post is watched before it is judged; at most the baseline.
        warm_up: Duration = SpikeConfig::default().warm_up,
        /// How long after a notice there is no other of the same post.
        cooldown: Duration = SpikeConfig::default().cooldown,
        /// Most posts remembered.
        max_keys: usize = SpikeConfig::default().max_keys,
    }
}

settings! {
    /// The rule that notices users who act faster than a person can.
    pub struct UserRateSection in "rules.user_rate" as "user_rate_" {
        /// Whether the rule runs.
        enabled: bool = UserRateConfig::default().enabled,
        /// Over how much event time actions are counted.
        window: Duration = UserRateConfig::default().window,
        /// How many a person may do in a window.
        max_actions: u32 = UserRateConfig::default().max_actions,
        /// How long the same user is not reported again.
        cooldown: Duration = UserRateConfig::default().cooldown,
        /// Most users remembered.
        max_keys: usize = UserRateConfig::default().max_keys,
    }
}

/// What commands that run the pipeline take.
pub type EngineSections = (RetentionSection, EventsSection, MilestoneSection, SpikeSection, UserRateSection);

/// What `serve` takes besides.
pub type ServeSections = (FrontSection, GatewaySection, LiveSection, JwtSection);

/// All there is, in the order of the reference.
pub type AllSections = (
    GeneralSection,
    FrontSection,
    GatewaySection,
    LiveSection,
    JwtSection,
    RetentionSection,
    EventsSection,
    MilestoneSection,
    SpikeSection,
    UserRateSection,
);

/// All settings, complete and checked.
#[derive(Debug)]
pub struct Config {
    pub data: PathBuf,
    /// Nobody has said which directory.
    pub data_is_default: bool,
    pub log: String,
    pub log_format: logs::Format,
    pub front: FrontSection,
    pub gateway: GatewaySection,
    pub live: LiveSection,
    pub jwt: JwtSection,
    pub rules: RulesConfig,
    retention: RetentionSection,
    events: EventsSection,
}

impl Config {
    /// The settings in effect.
    ///
    /// # Errors
    ///
    /// Names the key at fault, and where its value comes from.
    pub fn load(layers: &Layers) -> Result<Config, Failure> {
        let (general, front, gateway, live, jwt, retention, events, milestone, spike, user_rate) =
            AllSections::load(layers)?;
        let rules = rules(milestone, spike, user_rate);
        check_rules(&rules, layers)?;
        check(&retention, &events, layers)?;
        let data = AllSections::keys().into_iter().find(|key| key.path() == "data");
        let data_is_default = data.is_none_or(|key| matches!(layers.origin(&key), Origin::Default(_)));
        Ok(Config {
            data: general.data,
            data_is_default,
            log: general.log,
            log_format: general.log_format,
            front,
            gateway,
            live,
            jwt,
            rules,
            retention,
            events,
        })
    }

    /// What the history drops.
    pub fn retention(&self) -> RetentionPolicy {
        RetentionPolicy {
            events: days(self.retention.events_days),
            journal: days(self.retention.journal_days),
            ..Default::default()
        }
    }

    /// How long records stay in the log.
    pub fn keep_log(&self) -> Duration {
        days(self.retention.log_days)
    }

    /// Which events are taken.
    pub fn event_policy(&self) -> EventPolicy {
        EventPolicy {
            extra_kinds: BTreeSet::from_iter(self.events.extra_kinds.iter().cloned()),
            horizon: days(self.retention.events_days),
            ..Default::default()
        }
    }
}

fn days(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(86_400))
}

fn check(retention: &RetentionSection, events: &EventsSection, layers: &Layers) -> Result<(), Failure> {
    for kind in &events.extra_kinds {
        if !matches!(EventKind::new(kind), Some(EventKind::Other(_))) {
            let fault =
                format!("{kind:?} is no name for a kind (a-z, 0-9 and _, at most 32, not a standard kind)");
            return Err(layers.fault::<AllSections>("events.extra_kinds", fault));
        }
    }
    // A replay dates ids a day back; the alerts recover from a journal that is at most minutes behind.
    for (key, days, least) in [
        ("retention.events_days", retention.events_days, 2),
        ("retention.journal_days", retention.journal_days, 1),
    ] {
        if days < least {
            return Err(layers.fault::<AllSections>(key, format!("is {days}, the least is {least}")));
        }
    }
    Ok(())
}

fn rules(milestone: MilestoneSection, spike: SpikeSection, user_rate: UserRateSection) -> RulesConfig {
    RulesConfig {
        milestone: MilestoneConfig { enabled: milestone.enabled, thresholds: milestone.thresholds },
        spike: SpikeConfig {
            enabled: spike.enabled,
            window: spike.window,
            min_likes: spike.min_likes,
            min_factor: spike.min_factor,
            min_score: spike.min_score,
            baseline: spike.baseline,
            warm_up: spike.warm_up,
            cooldown: spike.cooldown,
            max_keys: spike.max_keys,
        },
        user_rate: UserRateConfig {
            enabled: user_rate.enabled,
            window: user_rate.window,
            max_actions: user_rate.max_actions,
            cooldown: user_rate.cooldown,
            max_keys: user_rate.max_keys,
        },
    }
}

/// The rules know themselves what they can be set to, and begin what they say with the key.
fn check_rules(rules: &RulesConfig, layers: &Layers) -> Result<(), Failure> {
    let Err(error) = rules.rule_set() else { return Ok(()) };
    let message = error.to_string();
    let (path, fault) = message.split_once(' ').unwrap_or(("rules", &message));
    Err(layers.fault::<AllSections>(path, fault))
}

#[cfg(test)]
mod tests;
