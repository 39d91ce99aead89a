//! Alert rules: the contract [`AlertRule`].

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::effect::Effect;
use crate::history::PostTotals;
use crate::notification::Notification;
use crate::{PostId, Timestamp, UserId};

/// Watches effects, keeps a state per key, and raises alerts.
///
/// # Contract
///
/// - The results of [`observe`](AlertRule::observe) and [`advance`](AlertRule::advance) depend on
///   the state, the effect and the watermark alone. A rule uses no I/O, no clock and no randomness.
///   A replay in the recorded order therefore raises the same alerts with the same ids.
/// - A new state is `State::default()`. A state of an [`Evictable`](Keeping::Evictable) rule may be
///   dropped between two calls and then starts again as a new one. A state of an
///   [`Exact`](Keeping::Exact) rule is never lost.
/// - An evictable state takes at most 64 bytes in memory and contains no heap data.
/// - The id of a notification depends on the rule, the key, and the threshold or episode. If a rule
///   raises the same notification twice, feedkit recognizes it by its id and ignores it.
///
/// The effects of one step are ordered by time, then partition, then offset. Time may go back from
/// one step to the next: a late effect is observed late.
///
/// ```
/// use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
/// use feedkit_core::notification::{Audience, Notification, Severity};
/// use feedkit_core::{effect::Effect, EventKind};
///
/// /// Notifies the followers of a post when it is shared for the first time.
/// struct FirstShare;
///
/// impl AlertRule for FirstShare {
///     type State = bool;
///
///     fn name(&self) -> &str {
///         "first_share"
///     }
///     fn keeping(&self) -> Keeping {
///         Keeping::Exact
///     }
///     fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
///         (effect.kind == EventKind::new("share")?).then_some(Key::Post(&effect.post))
///     }
///     fn observe(&self, shared: &mut bool, effect: &Effect, context: &mut dyn RuleContext) {
///         if !std::mem::replace(shared, true) {
///             context.raise(Notification {
///                 id: format!("first_share:{}", effect.post),
///                 kind: "FIRST_SHARE".into(),
///                 severity: Severity::Info,
///                 audience: Audience::Post(effect.post.clone()),
///                 title: format!("{} was shared for the first time", effect.post),
///                 data: Default::default(),
///                 occurred_at: effect.time,
///             });
///         }
///     }
/// }
/// ```
pub trait AlertRule: Send + Sync + 'static {
    /// The state of one key.
    type State: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The name of the rule. It is part of the ids of its alerts and of the keys of its snapshots.
    /// A rule with another name is another rule.
    fn name(&self) -> &str;

    /// How states are kept.
    fn keeping(&self) -> Keeping;

    /// The key whose state this effect concerns, or `None` if the rule ignores the effect.
    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>>;

    /// Observes one effect.
    fn observe(&self, state: &mut Self::State, effect: &Effect, context: &mut dyn RuleContext);

    /// Called for each watched key when all partitions have passed `watermark`.
    fn advance(
        &self,
        state: &mut Self::State,
        key: &OwnedKey,
        watermark: Timestamp,
        context: &mut dyn RuleContext,
    ) {
        let _ = (state, key, watermark, context);
    }

    /// Computes the state of a post from its totals, when the alerts start again because the
    /// journal no longer reaches back far enough. The rule raises all alerts that such a post has
    /// had; feedkit recognizes the earlier ones by their ids.
    ///
    /// Only [`Exact`](Keeping::Exact) rules are called, once for each post. `None` means that the
    /// post starts with a new state.
    fn rebuild(&self, totals: &PostTotals, context: &mut dyn RuleContext) -> Option<Self::State> {
        let _ = (totals, context);
        None
    }
}

/// How the states of a rule are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// In memory, for a limited number of keys. The least recently used states are dropped first.
    /// For detectors.
    Evictable {
        /// Maximum number of keys.
        max_keys: usize,
    },
    /// In the alert log, for every key. For alerts that must be raised exactly once, such as
    /// milestones.
    Exact,
}

/// The key of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// A user.
    User(&'a UserId),
    /// A post.
    Post(&'a PostId),
    /// One state for everything.
    All,
}

/// A [`Key`] that owns its identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnedKey {
    /// A user.
    User(UserId),
    /// A post.
    Post(PostId),
    /// One state for everything.
    All,
}

impl Key<'_> {
    /// Converts the key to one that owns its identifier.
    pub fn to_owned(self) -> OwnedKey {
        match self {
            Key::User(user) => OwnedKey::User(user.clone()),
            Key::Post(post) => OwnedKey::Post(post.clone()),
            Key::All => OwnedKey::All,
        }
    }

    /// The identifier of the user or post. It is empty for [`Key::All`].
    pub fn name(&self) -> &str {
        match self {
            Key::User(user) => user.as_str(),
            Key::Post(post) => post.as_str(),
            Key::All => "",
        }
    }
}

impl OwnedKey {
    /// Borrows the key.
    pub fn as_key(&self) -> Key<'_> {
        match self {
            OwnedKey::User(user) => Key::User(user),
            OwnedKey::Post(post) => Key::Post(post),
            OwnedKey::All => Key::All,
        }
    }
}

impl fmt::Display for Key<'_> {
    /// Writes `user:ID`, `post:ID` or `all`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::User(user) => write!(f, "user:{user}"),
            Key::Post(post) => write!(f, "post:{post}"),
            Key::All => f.write_str("all"),
        }
    }
}

/// What a rule can do besides changing its state.
pub trait RuleContext {
    /// Raises an alert.
    fn raise(&mut self, notification: Notification);

    /// Watches the current key from now on. The rule is then called by [`AlertRule::advance`] for
    /// this key, and a sample of the users who act on it is kept. The number of watched keys is
    /// limited. When the limit is reached, the key that has been watched for the longest time is
    /// dropped.
    fn watch(&mut self);

    /// Stops watching the current key.
    fn unwatch(&mut self);

    /// The first twenty users who acted on the current key since the rule watches it.
    fn samples(&self) -> &[UserId];
}
