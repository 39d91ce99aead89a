//! Rules that watch the effects go by.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::effect::Effect;
use crate::history::PostTotals;
use crate::notification::Notification;
use crate::{PostId, Timestamp, UserId};

/// Watches effects, key by key, and says what to raise.
///
/// # Contract
///
/// - What [`observe`](AlertRule::observe) and [`advance`](AlertRule::advance) do follows from the state, the
///   effect and the watermark alone: no I/O, no clock, no randomness. A replay in the recorded order gives the
///   same alerts with the same ids.
/// - A state that is new is `State::default()`. One of an [`Evictable`](Keeping::Evictable) rule may be dropped
///   between two calls and start anew; one of an [`Exact`](Keeping::Exact) rule is never lost.
/// - An evictable state takes at most 64 bytes in memory and holds no heap data.
/// - Ids of notifications follow from the rule, the key, and the threshold or episode; raising one twice is
///   noticed by its id and has no effect.
///
/// Effects of one step come ordered by time, then partition, then offset. Across steps time may go back: a late
/// effect is observed late.
///
/// ```
/// use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
/// use feedkit_core::notification::{Audience, Notification, Severity};
/// use feedkit_core::{effect::Effect, EventKind};
///
/// /// Tells everybody of a post's first share.
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
    /// What the rule remembers of one key.
    type State: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The rule's name: part of its alerts' ids and of its snapshots' keys. Another name is another rule.
    fn name(&self) -> &str;

    /// How states are kept.
    fn keeping(&self) -> Keeping;

    /// Whose state this effect concerns; `None` when the rule has no interest in it.
    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>>;

    /// Takes one effect in.
    fn observe(&self, state: &mut Self::State, effect: &Effect, context: &mut dyn RuleContext);

    /// All partitions have passed `watermark`. Called for watched keys only.
    fn advance(
        &self,
        state: &mut Self::State,
        key: &OwnedKey,
        watermark: Timestamp,
        context: &mut dyn RuleContext,
    ) {
        let _ = (state, key, watermark, context);
    }

    /// The state of a post with these totals, when the alerts start over because the journal no longer reaches
    /// back. Raises all that such a post has had raised; what was raised before is noticed by its id. Asked of
    /// [`Exact`](Keeping::Exact) rules only, for every post there is. `None`: the post begins anew.
    fn rebuild(&self, totals: &PostTotals, context: &mut dyn RuleContext) -> Option<Self::State> {
        let _ = (totals, context);
        None
    }
}

/// How a rule's states are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// In memory, for at most so many keys; the longest unused go first. For detectors.
    Evictable {
        /// The bound.
        max_keys: usize,
    },
    /// In the alert log, for every key there is. For what must happen exactly once, such as milestones.
    Exact,
}

/// What a state belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// A user.
    User(&'a UserId),
    /// A post.
    Post(&'a PostId),
    /// There is one state for everything.
    All,
}

/// A [`Key`] that owns its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnedKey {
    /// A user.
    User(UserId),
    /// A post.
    Post(PostId),
    /// There is one state for everything.
    All,
}

impl Key<'_> {
    /// The key, owning its name.
    pub fn to_owned(self) -> OwnedKey {
        match self {
            Key::User(user) => OwnedKey::User(user.clone()),
            Key::Post(post) => OwnedKey::Post(post.clone()),
            Key::All => OwnedKey::All,
        }
    }

    /// The name inside, empty for [`Key::All`].
    pub fn name(&self) -> &str {
        match self {
            Key::User(user) => user.as_str(),
            Key::Post(post) => post.as_str(),
            Key::All => "",
        }
    }
}

impl OwnedKey {
    /// The key, borrowed.
    pub fn as_key(&self) -> Key<'_> {
        match self {
            OwnedKey::User(user) => Key::User(user),
            OwnedKey::Post(post) => Key::Post(post),
            OwnedKey::All => Key::All,
        }
    }
}

impl fmt::Display for Key<'_> {
    /// `user:NAME`, `post:NAME` or `all`.
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

    /// Watches this key from now on: [`AlertRule::advance`] is called for it, and a sample of the users who act on
    /// it is kept. The number of watched keys is bounded; when there is no room, the one watched longest goes.
    fn watch(&mut self);

    /// Watches this key no longer.
    fn unwatch(&mut self);

    /// Users who acted on this key since it is watched, the first twenty.
    fn samples(&self) -> &[UserId];
}
