//! Which rules run.

use std::sync::Arc;

use feedkit_core::{AlertRule, Error, Result};

use crate::config::RulesConfig;
use crate::engine::StartRule;

/// A set of rules to run, in this order.
///
/// ```
/// use feedkit_alerts::RuleSet;
/// use feedkit_alerts::rules::{UserRate, UserRateConfig};
///
/// let standard = RuleSet::standard();
/// assert_eq!(standard.names().collect::<Vec<_>>(), ["milestone", "spike", "user_rate"]);
///
/// let mut config = UserRateConfig::default();
/// config.max_actions = 100;
/// let one = RuleSet::empty().with(UserRate::new(&config)?);
/// assert_eq!(one.names().collect::<Vec<_>>(), ["user_rate"]);
///
/// let configured =
///     RuleSet::from_toml("[rules.spike]\nmin_likes = 50\n[rules.user_rate]\nenabled = false")?;
/// assert_eq!(configured.names().collect::<Vec<_>>(), ["milestone", "spike"]);
/// # Ok::<(), feedkit_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct RuleSet {
    rules: Vec<Arc<dyn StartRule>>,
}

impl RuleSet {
    /// A set without rules.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The three rules that come with this crate, with default settings.
    pub fn standard() -> Self {
        RulesConfig::default().rule_set().expect("the defaults are valid")
    }

    /// The rules that the table `rules` of a TOML text describes. A key that is left out has its
    /// default.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if a key is unknown or its value is out of
    /// range. The message names the key.
    pub fn from_toml(text: &str) -> Result<Self> {
        Ok(RulesConfig::from_toml(text)?.rule_set()?)
    }

    /// Adds a rule.
    #[must_use]
    pub fn with(mut self, rule: impl AlertRule) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    /// The rules' names, in the order in which they run.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.rule_name())
    }

    pub(crate) fn rules(&self) -> &[Arc<dyn StartRule>] {
        &self.rules
    }

    /// Checks that each rule has its own name. The name identifies the rule's states and alerts.
    pub(crate) fn check(&self) -> Result<()> {
        let mut names: Vec<_> = self.names().collect();
        names.sort_unstable();
        if names.first() == Some(&"") {
            return Err(Error::invalid("a rule has an empty name"));
        }
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::invalid(format!("two rules have the name {:?}", pair[0]))),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
