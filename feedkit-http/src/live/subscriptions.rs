//! One client's channels.

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

/// The log is away, or its reader begins anew.
pub(super) const AWAY: Ending = Ending::Restarting("notifications cannot be read now");

/// What one client listens to. Dropped, it listens to nothing.
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

    /// Those of `names` that this client may listen to, and why not the others.
    pub(super) fn check(&self, names: &[String]) -> (BTreeSet<Channel>, Vec<Refusal>) {
        let most = self.hub.options.live.max_channels;
        let (mut wanted, mut refused) = (BTreeSet::new(), Vec::new());
        // Names beyond the most channels cannot all be new: at the first that finds no room it stops, so that one
        // frame makes no more answers than that.
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

    /// Unsubscribes. What waits already is still sent.
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

    /// Answers a ping. Who listens learns how far it has come, so that its cursor does not grow old in silence.
    pub(super) fn pong(&self) {
        let mut registry = self.hub.registry();
        let cursor = registry.cursor().filter(|_| !self.channels.is_empty());
        // Under the lock: all before the cursor waits in the outbox already.
        self.outbox.push(Arc::new(Frame::pong(cursor)));
    }

    /// Says, to a stream, that the gateway is there, and how far it has come.
    pub(super) fn keep_alive(&self) {
        let mut registry = self.hub.registry();
        self.outbox.push(Arc::new(Frame::keep_alive(registry.cursor())));
    }

    /// A new token of the same user: channels that it does not allow are left.
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

    /// Begins to listen and says so, at one position. `replay`: the cursor to begin at, and what was missed.
    pub(super) fn go_live(
        &mut self,
        registry: &mut Registry,
        wanted: &BTreeSet<Channel>,
        replay: Option<(&str, Replay)>,
    ) -> Result<(), Ending> {
        let cursor = match &replay {
            // Until what was missed has arrived, the client stands where it stood.
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
