//! What a rule is given while it looks at one key.

use feedkit_core::UserId;
use feedkit_core::alert::{Key, RuleContext};
use feedkit_core::notification::Notification;

use super::rules::Raised;
use super::watched::Watched;

/// What a rule is given while it looks at one key.
pub(super) struct Context<'a> {
    /// The index of the effect in its step. For the watermark: the number of effects in the step.
    pub(super) at: usize,
    pub(super) raised: &'a mut Vec<Raised>,
    pub(super) watched: &'a mut Watched,
    pub(super) hash: u128,
    pub(super) key: Key<'a>,
    /// The user who acts, if the rule is looking at an effect.
    pub(super) user: Option<&'a UserId>,
    pub(super) is_watched: bool,
    /// Keys that are no longer watched, because other keys needed the room.
    pub(super) dropped: Vec<u128>,
}

impl RuleContext for Context<'_> {
    fn raise(&mut self, notification: Notification) {
        self.raised.push(Raised { at: self.at, notification });
    }

    fn watch(&mut self) {
        if !self.is_watched {
            let dropped = self.watched.insert(self.hash, self.key.to_owned(), self.user);
            self.is_watched = dropped != Some(self.hash);
            self.dropped.extend(dropped.filter(|hash| *hash != self.hash));
        }
    }

    fn unwatch(&mut self) {
        if self.is_watched {
            self.watched.remove(self.hash);
            self.is_watched = false;
        }
    }

    fn samples(&self) -> &[UserId] {
        self.watched.samples(self.hash)
    }
}
