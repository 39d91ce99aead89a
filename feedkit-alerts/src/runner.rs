//! Rules over effects in memory.

use feedkit_core::alert_log::RuleStates;
use feedkit_core::effect::Effect;
use feedkit_core::notification::Notification;
use feedkit_core::{Result, Timestamp};

use crate::engine::{CHUNK, Rules};
use crate::{AlertOptions, RuleSet};

/// Runs a set of rules over effects in memory, without a journal and without an alert log.
///
/// Use it to test a rule, or to try a configuration on past events. [`AlertFollower`] raises the
/// same alerts from the same steps.
///
/// ```
/// use feedkit_alerts::rules::{UserRate, UserRateConfig};
/// use feedkit_alerts::{AlertOptions, RuleRunner, RuleSet};
/// use feedkit_core::effect::Effect;
/// use feedkit_core::{EventKind, PostId, Timestamp, UserId};
///
/// let mut config = UserRateConfig::default();
/// config.max_actions = 2;
/// let rules = RuleSet::empty().with(UserRate::new(&config)?);
/// let mut runner = RuleRunner::new(&rules, &AlertOptions::default())?;
///
/// let like = |n: u64| Effect {
///     offset: n,
///     user: UserId::new("u1").unwrap(),
///     post: PostId::new(format!("p{n}")).unwrap(),
///     kind: EventKind::Like,
///     time: Timestamp::from_millis(1_000),
/// };
/// let step = [like(0), like(1), like(2)];
/// let raised = runner.step(&step, Timestamp::from_millis(1_000));
/// assert_eq!(raised[0].kind, "FRAUD");
/// # Ok::<(), feedkit_core::Error>(())
/// ```
///
/// [`AlertFollower`]: crate::AlertFollower
pub struct RuleRunner {
    rules: Rules,
}

impl RuleRunner {
    /// Rules that have seen no effects yet. Of the options, only `max_watched` matters.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if two rules have the same name, or if a
    /// rule's state is too large.
    pub fn new(set: &RuleSet, options: &AlertOptions) -> Result<Self> {
        Ok(RuleRunner { rules: Rules::new(set, &options.limits())? })
    }

    /// Runs one step and returns what it raises, in order. `watermark` is the event time that all
    /// partitions have passed.
    ///
    /// The effects should be ordered by time, as the alert follower orders them.
    pub fn step<'e>(
        &mut self,
        effects: impl IntoIterator<Item = &'e Effect>,
        watermark: Timestamp,
    ) -> Vec<Notification> {
        let hasher = self.rules.hasher();
        let hashed: Vec<_> = effects.into_iter().map(|effect| hasher.hash(effect)).collect();
        let mut raised = Vec::new();
        for (i, chunk) in hashed.chunks(CHUNK).enumerate() {
            self.rules.observe(i * CHUNK, chunk, &mut raised);
        }
        self.rules.finish(hashed.len(), watermark, raised)
    }

    /// The number of states in memory.
    pub fn states(&self) -> usize {
        self.rules.keys()
    }

    /// The states as a snapshot stores them.
    ///
    /// # Errors
    ///
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal) if a state cannot be serialized.
    pub fn snapshot(&self, watermark: Timestamp) -> Result<impl RuleStates> {
        self.rules.snapshot(watermark)
    }
}
