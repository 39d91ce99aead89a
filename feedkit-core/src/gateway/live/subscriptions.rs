//! One client's channels.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashSet;
use tokio::time::{Instant, timeout_at};

use super::channel::Channel;
use super::cursor::Cursor;
use super::ending::Ending;
use super::frame::{Frame, Refusal, short};
use super::hub::Hub;
use super::outbox::{Outbox, Replay};
use super::recovery::Recovered;
use super::registry::{ClientId, Registry};
use super::tail::{Entry, Since};
use crate::access::Identity;
use crate::notification::Audience;
use crate::{Positions, Timestamp};

/// What one client listens to. Dropped, it listens to nothing.
pub(super) struct Subscriptions {
    hub: Arc<Hub>,
    id: ClientId,
    outbox: Arc<Outbox>,
    who: Identity,
    channels: BTreeSet<Channel>,
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
        let most = self.hub.settings.live.max_channels;
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

    /// Subscribes to `wanted`: says so, then replays what was missed since `cursor`, then goes on live.
    pub(super) async fn subscribe(
        &mut self,
        wanted: BTreeSet<Channel>,
        cursor: Option<&str>,
    ) -> Result<(), Ending> {
        let deadline = Instant::now() + self.hub.settings.answer_timeout;
        if timeout_at(deadline, self.hub.begun()).await.is_err() {
            return Err(Ending::Restarting("notifications cannot be read now"));
        }
        let recovery = match cursor.map(|text| (text, Cursor::decode(text))) {
            Some((text, Some(cursor))) => self.recover(&wanted, text, &cursor, deadline).await?,
            _ => Recovery::Impossible,
        };
        if recovery == Recovery::Impossible {
            let hub = Arc::clone(&self.hub);
            self.go_live(&mut hub.registry(), &wanted, None);
        }
        if cursor.is_some() {
            self.hub.metrics.recoveries.with_label_values(&[recovery.name()]).inc();
        }
        for channel in wanted {
            self.hub.counts.listen(self.id, channel, &self.outbox);
        }
        Ok(())
    }

    /// Unsubscribes. What waits already is still sent.
    pub(super) fn unsubscribe(&mut self, names: &[String]) -> Vec<Refusal> {
        let mut refused = Vec::new();
        for name in names.iter().take(self.hub.settings.live.max_channels.max(1)) {
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
        let cursor = (!self.channels.is_empty()).then(|| registry.cursor());
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

    fn audiences(&self, channels: &BTreeSet<Channel>) -> HashSet<Audience> {
        channels.iter().flat_map(|channel| channel.audiences(&self.who.user)).collect()
    }

    /// Begins to listen and says so, at one position. `replay`: the cursor to begin at, and what was missed.
    fn go_live(
        &mut self,
        registry: &mut Registry,
        wanted: &BTreeSet<Channel>,
        replay: Option<(&str, Replay)>,
    ) {
        let names: Vec<_> = wanted.iter().map(Channel::to_string).collect();
        let cursor = match &replay {
            // Until what was missed has arrived, the client stands where it stood.
            Some((text, replay)) if replay.missed.len() > 0 => (*text).into(),
            _ => registry.cursor(),
        };
        self.outbox.push(Arc::new(Frame::subscribed(&names, replay.is_some(), cursor)));
        if let Some((_, replay)) = replay {
            self.outbox.replay(replay);
        }
        self.channels.extend(wanted.iter().cloned());
        for audience in self.audiences(wanted) {
            registry.listen(self.id, audience, &self.outbox);
        }
    }

    /// Goes live with what was missed, if that can be had.
    async fn recover(
        &mut self,
        wanted: &BTreeSet<Channel>,
        text: &str,
        cursor: &Cursor,
        deadline: Instant,
    ) -> Result<Recovery, Ending> {
        // Another gateway may have been further than this one is.
        if !matches!(timeout_at(deadline, self.hub.reached(cursor.log, &cursor.next)).await, Ok(true)) {
            return Ok(Recovery::Impossible);
        }
        let hub = Arc::clone(&self.hub);
        let fresh = self.audiences(wanted);
        let Some(suspended_at) = self.recover_from_tail(wanted, &fresh, text, cursor) else {
            return Ok(Recovery::Tail);
        };
        let key = (text.to_owned(), wanted.iter().map(Channel::to_string).collect());
        let to = || hub.registry().standing().map(|(_, next)| next.clone()).unwrap_or_default();
        let place = (cursor.log, &cursor.next);
        let is_missed = |entry: &Entry| fresh.contains(&entry.audience);
        let read = hub.recoveries.read(key, place, to, &*hub.parts.notifications, is_missed);
        let read = timeout_at(deadline, read).await.ok().flatten();
        self.catch_up(wanted, &fresh, (text, cursor), read, &suspended_at)
    }

    /// Goes live with what the tail holds, in one step. If it does not reach back as far, suspends what is listened
    /// to and says where: what is heard while the log is read would bear cursors behind what is still missing.
    fn recover_from_tail(
        &mut self,
        wanted: &BTreeSet<Channel>,
        fresh: &HashSet<Audience>,
        text: &str,
        cursor: &Cursor,
    ) -> Option<Positions> {
        let hub = Arc::clone(&self.hub);
        let mut registry = hub.registry();
        let end = registry.standing().map(|(_, next)| next.clone()).unwrap_or_default();
        let most = hub.settings.live.max_recovery;
        let is_missed = |entry: &Entry| fresh.contains(&entry.audience);
        if let Since::Missed(missed) = registry.tail.since(&cursor.next, most, is_missed) {
            let (at, missed) = (cursor.next.clone(), missed.into_iter());
            let replay = Replay { log: cursor.log, at, missed, end };
            self.go_live(&mut registry, wanted, Some((text, replay)));
            return None;
        }
        for audience in self.audiences(&self.channels) {
            registry.leave(self.id, &audience);
        }
        Some(end)
    }

    /// Goes live after the log was read, with what has come since then.
    fn catch_up(
        &mut self,
        wanted: &BTreeSet<Channel>,
        fresh: &HashSet<Audience>,
        (text, cursor): (&str, &Cursor),
        read: Option<Arc<Recovered>>,
        suspended_at: &Positions,
    ) -> Result<Recovery, Ending> {
        let hub = Arc::clone(&self.hub);
        let most = hub.settings.live.max_recovery;
        let kept = self.audiences(&self.channels.difference(wanted).cloned().collect());
        let is_kept = |entry: &Entry| {
            kept.contains(&entry.audience) && entry.offset >= suspended_at.of(entry.partition)
        };
        let mut registry = hub.registry();
        let Some((log, end)) = registry.standing().map(|(log, next)| (log, next.clone())) else {
            return Err(Ending::Restarting("notifications cannot be read now"));
        };
        let missed = read.filter(|_| log == cursor.log).and_then(|read| {
            let is_missed = |entry: &Entry| {
                is_kept(entry)
                    || fresh.contains(&entry.audience) && entry.offset >= read.to.of(entry.partition)
            };
            match registry.tail.since(&least(&read.to, suspended_at), most, is_missed) {
                Since::Missed(since) => Some([&read.missed[..], &since[..]].concat()),
                _ => None,
            }
        });
        let recovery = if let Some(missed) = missed {
            let replay = Replay { log, at: cursor.next.clone(), missed: missed.into_iter(), end };
            self.go_live(&mut registry, wanted, Some((text, replay)));
            Recovery::Log
        } else if kept.is_empty() {
            return Ok(Recovery::Impossible);
        } else if let Since::Missed(since) = registry.tail.since(suspended_at, most, is_kept) {
            self.outbox.replay(Replay { log, at: suspended_at.clone(), missed: since.into_iter(), end });
            self.go_live(&mut registry, wanted, None);
            Recovery::OfOthers
        } else {
            // So much came meanwhile that not even the channels it had can go on.
            return Err(Ending::TooSlow);
        };
        for audience in kept {
            registry.listen(self.id, audience, &self.outbox);
        }
        Ok(recovery)
    }
}

/// What came of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    /// Live, with what memory held.
    Tail,
    /// Live, with what the log held.
    Log,
    /// Live, but only the channels it had before missed nothing.
    OfOthers,
    /// Not live yet, and what was missed cannot be had.
    Impossible,
}

impl Recovery {
    fn name(self) -> &'static str {
        match self {
            Recovery::Tail => "tail",
            Recovery::Log => "log",
            Recovery::OfOthers | Recovery::Impossible => "failed",
        }
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

/// The lower of two places, by partition.
fn least(a: &Positions, b: &Positions) -> Positions {
    a.iter().map(|(partition, offset)| (partition, offset.min(b.of(partition)))).collect()
}
