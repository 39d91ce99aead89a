use feedkit_core::UserId;
use feedkit_core::alert::{Key, RuleContext};
use feedkit_core::notification::Notification;

use super::rules::Raised;
use super::watched::Watched;

/// What a rule is handed while it looks at one key.
pub(super) struct Context<'a> {
    /// Where in the step this happens: the effect's place, or the step's length for what the watermark brings.
    pub(super) at: usize,
    pub(super) raised: &'a mut Vec<Raised>,
    pub(super) watched: &'a mut Watched,
    pub(super) hash: u128,
    pub(super) key: Key<'a>,
    /// Who acts, if somebody does.
    pub(super) user: Option<&'a UserId>,
    pub(super) is_watched: bool,
    /// Keys that are no longer watched because others needed the room.
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
