//! The channels of one client.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashSet;

use super::channel::Channel;
use super::ending::Ending;
use super::frame::{Frame, Refusal, short};
use super::hub::Hub;
use super::outbox::{Outbox, Replay};
use super::registry::{ClientId, Registry};
use feedkit_core::Timestamp;
use feedkit_core::access::Identity;
use feedkit_core::notification::Audience;

/// The ending when the log does not answer, or its reader starts again.
pub(super) const AWAY: Ending = Ending::Restarting("notifications cannot be read now");

/// The subscriptions of one client. Dropping them removes the client from all listeners.
pub(super) struct Subscriptions {
    pub(super) hub: Arc<Hub>,
    pub(super) id: ClientId,
    pub(super) outbox: Arc<Outbox>,
    who: Identity,
    pub(super) channels: BTreeSet<Channel>,
}

impl Subscriptions {
    pub(super) fn new(hub: &Arc<Hub>, outbox: &Arc<Outbox>, who: Identity) -> Self {
        let (hub, outbox) = (Arc::clone(hub), Arc::clone(outbox));
        Subscriptions { id: hub.new_client(), hub, outbox, who, channels: BTreeSet::new() }
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        self.who.expires_at
    }

    /// The channels among `names` that this client may listen to, and the refusals of the others.
    pub(super) fn check(&self, names: &[String]) -> (BTreeSet<Channel>, Vec<Refusal>) {
        let most = self.hub.options.live.max_channels;
        let (mut wanted, mut refused) = (BTreeSet::new(), Vec::new());
        // The loop stops at the first channel above the maximum, so that one frame cannot cause
        // more answers than that.
        for name in names {
            let channel = match Channel::parse(name) {
                Ok(channel) => channel,
                Err(why) => {
                    refused.push(Refusal::new("invalid-channel", format!("{:?}: {why}", short(name))));
                    if refused.len() >= most.max(1) {
                        break;
                    }
                    continue;
                }
            };
            if wanted.contains(&channel) {
                continue;
            }
            if !self.allows(&channel) {
                refused.push(Refusal::new("forbidden", format!("{channel}: this token does not allow it")));
                if refused.len() >= most.max(1) {
                    break;
                }
                continue;
            }
            let fresh = wanted.difference(&self.channels).count();
            if !self.channels.contains(&channel) && self.channels.len() + fresh >= most {
                let detail = format!("{channel}: a client has at most {most} channels");
                refused.push(Refusal::new("too-many-channels", detail));
                break;
            }
            wanted.insert(channel);
        }
        (wanted, refused)
    }

    /// Unsubscribes. Frames that already wait are still sent.
    pub(super) fn unsubscribe(&mut self, names: &[String]) -> Vec<Refusal> {
        let mut refused = Vec::new();
        for name in names.iter().take(self.hub.options.live.max_channels.max(1)) {
            match Channel::parse(name) {
                Ok(channel) => self.leave(&channel),
                Err(why) => {
                    refused.push(Refusal::new("invalid-channel", format!("{:?}: {why}", short(name))))
                }
            }
        }
        refused
    }

    /// Answers a ping. A client with channels gets the current cursor, so that its cursor does not
    /// get old while nothing happens.
    pub(super) fn pong(&self) {
        let mut registry = self.hub.registry();
        let cursor = registry.cursor().filter(|_| !self.channels.is_empty());
        // Under the lock, every frame before the cursor is already in the outbox.
        self.outbox.push(Arc::new(Frame::pong(cursor)));
    }

    /// Sends a stream a comment with the current cursor.
    pub(super) fn keep_alive(&self) {
        let mut registry = self.hub.registry();
        self.outbox.push(Arc::new(Frame::keep_alive(registry.cursor())));
    }

    /// Replaces the token by a new one of the same user. The client leaves channels that it does
    /// not allow.
    pub(super) fn renew(&mut self, who: Identity) -> Result<Vec<Refusal>, Ending> {
        if who.user != self.who.user {
            return Err(Ending::Forbidden("the token is another user's"));
        }
        self.who = who;
        let lost: Vec<_> = self.channels.iter().filter(|c| !self.allows(c)).cloned().collect();
        lost.iter().for_each(|channel| self.leave(channel));
        let refusal =
            |channel| Refusal::new("forbidden", format!("{channel}: the new token does not allow it"));
        Ok(lost.iter().map(refusal).collect())
    }

    fn allows(&self, channel: &Channel) -> bool {
        self.hub.parts.authorizer.may_listen(&self.who, &channel.guarded(&self.who.user))
    }

    fn leave(&mut self, channel: &Channel) {
        if self.channels.remove(channel) {
            let mut registry = self.hub.registry();
            for audience in channel.audiences(&self.who.user) {
                registry.leave(self.id, &audience);
            }
            drop(registry);
            self.hub.counts.leave(self.id, channel);
        }
    }

    pub(super) fn audiences(&self, channels: &BTreeSet<Channel>) -> HashSet<Audience> {
        channels.iter().flat_map(|channel| channel.audiences(&self.who.user)).collect()
    }

    /// Starts to listen, and answers the client, at one position. `replay` has the cursor to start
    /// from and the missed notifications.
    pub(super) fn go_live(
        &mut self,
        registry: &mut Registry,
        wanted: &BTreeSet<Channel>,
        replay: Option<(&str, Replay)>,
    ) -> Result<(), Ending> {
        let cursor = match &replay {
            // Until the missed notifications arrive, the client stays at its old cursor.
            Some((text, replay)) if replay.missed.len() > 0 => (*text).into(),
            _ => registry.cursor().ok_or(AWAY)?,
        };
        let names: Vec<_> = wanted.iter().map(Channel::to_string).collect();
        self.outbox.push(Arc::new(Frame::subscribed(&names, replay.is_some(), cursor)));
        if let Some((_, replay)) = replay {
            self.outbox.replay(replay);
        }
        self.channels.extend(wanted.iter().cloned());
        for audience in self.audiences(wanted) {
            registry.listen(self.id, audience, &self.outbox);
        }
        Ok(())
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        let channels = std::mem::take(&mut self.channels);
        let mut registry = self.hub.registry();
        for audience in self.audiences(&channels) {
            registry.leave(self.id, &audience);
        }
        drop(registry);
        channels.iter().for_each(|channel| self.hub.counts.leave(self.id, channel));
    }
}
