//! Subscribes a client, and brings one that comes back with a cursor up to the present, without
//! losing or repeating a notification.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashSet;
use tokio::time::{Instant, timeout_at};

use super::channel::Channel;
use super::cursor::Cursor;
use super::ending::{Ending, Slow};
use super::outbox::Replay;
use super::recovery::Place;
use super::subscriptions::{AWAY, Subscriptions};
use super::tail::{Entry, Since};
use feedkit_core::Positions;
use feedkit_core::notification::Audience;

/// The outcome of a subscription with a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    /// The client is live. Memory had the missed notifications.
    Tail,
    /// The client is live. The log had the missed notifications.
    Log,
    /// The client is live, but only its earlier channels missed nothing.
    OfOthers,
    /// The client is not live yet, and the missed notifications are not available.
    Impossible,
}

impl Recovery {
    /// The label of this outcome in the metrics.
    fn name(self) -> &'static str {
        match self {
            Recovery::Tail => "tail",
            Recovery::Log => "log",
            Recovery::OfOthers | Recovery::Impossible => "failed",
        }
    }
}

/// The progress of a client that is not live yet.
struct CatchUp<'a> {
    wanted: &'a BTreeSet<Channel>,
    /// The cursor as text, and decoded.
    text: &'a str,
    cursor: &'a Cursor,
    /// The audiences of the wanted channels, and the position up to which their notifications are
    /// known.
    fresh: HashSet<Audience>,
    fresh_at: Positions,
    /// The same for the channels that were live before.
    kept: HashSet<Audience>,
    kept_at: Positions,
    /// The missed notifications of both.
    missed: Vec<Arc<Entry>>,
}

impl Subscriptions {
    /// Subscribes to `wanted`. The client gets an answer, then the notifications since `cursor`,
    /// and then live ones.
    pub(super) async fn subscribe(
        &mut self,
        wanted: BTreeSet<Channel>,
        cursor: Option<&str>,
    ) -> Result<(), Ending> {
        let deadline = Instant::now() + self.hub.options.answer_timeout;
        if timeout_at(deadline, self.hub.begun()).await.is_err() {
            return Err(AWAY);
        }
        let recovery = match cursor.map(|text| (text, Cursor::decode(text))) {
            Some((text, Some(cursor))) => self.recover(&wanted, text, &cursor, deadline).await?,
            _ => Recovery::Impossible,
        };
        if recovery == Recovery::Impossible {
            let hub = Arc::clone(&self.hub);
            self.go_live(&mut hub.registry(), &wanted, None)?;
        }
        if cursor.is_some() {
            self.hub.metrics.recoveries.with_label_values(&[recovery.name()]).inc();
        }
        for channel in wanted {
            self.hub.counts.listen(self.id, channel, &self.outbox);
        }
        Ok(())
    }

    /// Goes live with the notifications since `cursor`, if they are available before `deadline`.
    async fn recover(
        &mut self,
        wanted: &BTreeSet<Channel>,
        text: &str,
        cursor: &Cursor,
        deadline: Instant,
    ) -> Result<Recovery, Ending> {
        let hub = Arc::clone(&self.hub);
        // The cursor may come from another gateway, which was ahead of this one.
        if !matches!(timeout_at(deadline, hub.reached(cursor.log, &cursor.next)).await, Ok(true)) {
            return Ok(Recovery::Impossible);
        }
        let mut catch_up = CatchUp {
            wanted,
            text,
            cursor,
            fresh: self.audiences(wanted),
            fresh_at: cursor.next.clone(),
            kept: self.audiences(&self.channels.difference(wanted).cloned().collect()),
            kept_at: Positions::new(),
            missed: Vec::new(),
        };
        if self.begin(&mut catch_up)? {
            return Ok(Recovery::Tail);
        }
        let read = timeout_at(deadline, self.read(&mut catch_up)).await;
        match read {
            Ok(Some(())) => {}
            _ => return self.give_up(&catch_up),
        }
        // Memory has the notifications that came meanwhile, unless it is small and they came fast.
        while !self.join(&mut catch_up)? {
            let read = timeout_at(deadline, self.read_on(&mut catch_up)).await;
            if !matches!(read, Ok(Some(()))) {
                return self.give_up(&catch_up);
            }
        }
        Ok(Recovery::Log)
    }

    /// Goes live if memory reaches back far enough. Otherwise it suspends the client's channels,
    /// because frames that arrive while the log is read would have cursors beyond the missing ones.
    fn begin(&mut self, catch_up: &mut CatchUp<'_>) -> Result<bool, Ending> {
        let hub = Arc::clone(&self.hub);
        let mut registry = hub.registry();
        let (_, end) = registry.standing().ok_or(AWAY)?;
        catch_up.kept_at = end.clone();
        let most = hub.options.live.max_recovery;
        if let Since::Missed(missed) = registry.tail.since(&catch_up.fresh_at, most, |e| catch_up.lacks(e)) {
            let replay = catch_up.replay(missed, catch_up.kept_at.clone());
            self.go_live(&mut registry, catch_up.wanted, Some((catch_up.text, replay)))?;
            return Ok(true);
        }
        for audience in self.audiences(&self.channels) {
            registry.leave(self.id, &audience);
        }
        Ok(false)
    }

    /// Reads the notifications of the wanted channels since the cursor. Clients that need the same
    /// share one read.
    async fn read(&self, catch_up: &mut CatchUp<'_>) -> Option<()> {
        let key = (catch_up.text.to_owned(), catch_up.wanted.iter().map(Channel::to_string).collect());
        let place = Place { log: catch_up.cursor.log, next: &catch_up.cursor.next };
        let wanted = |entry: &Entry| catch_up.fresh.contains(&entry.audience);
        let read =
            self.hub.recoveries.read(key, place, || self.standing(), &*self.hub.parts.notifications, wanted);
        let read = read.await?;
        catch_up.missed.clone_from(&read.missed);
        catch_up.fresh_at = read.to.clone();
        Some(())
    }

    /// Reads the later notifications of all channels.
    async fn read_on(&self, catch_up: &mut CatchUp<'_>) -> Option<()> {
        let from = least(&catch_up.fresh_at, &catch_up.kept_at);
        let place = Place { log: catch_up.cursor.log, next: &from };
        let wanted = |entry: &Entry| catch_up.lacks(entry);
        let log = &*self.hub.parts.notifications;
        let read = self.hub.recoveries.read_alone(place, || self.standing(), log, wanted).await?;
        catch_up.missed.extend(read.missed);
        catch_up.fresh_at = read.to.clone();
        catch_up.kept_at = read.to;
        (catch_up.missed.len() <= self.hub.options.live.max_recovery).then_some(())
    }

    fn standing(&self) -> Positions {
        self.hub.registry().standing().map(|(_, next)| next.clone()).unwrap_or_default()
    }

    /// Goes live, if memory has the notifications since the read.
    fn join(&mut self, catch_up: &mut CatchUp<'_>) -> Result<bool, Ending> {
        let hub = Arc::clone(&self.hub);
        let mut registry = hub.registry();
        let (_, end) = registry.standing().filter(|(log, _)| *log == catch_up.cursor.log).ok_or(AWAY)?;
        let end = end.clone();
        let most = hub.options.live.max_recovery;
        let from = least(&catch_up.fresh_at, &catch_up.kept_at);
        let Since::Missed(since) = registry.tail.since(&from, most, |e| catch_up.lacks(e)) else {
            return Ok(false);
        };
        let missed = [std::mem::take(&mut catch_up.missed), since].concat();
        let replay = catch_up.replay(missed, end);
        self.go_live(&mut registry, catch_up.wanted, Some((catch_up.text, replay)))?;
        for audience in catch_up.kept.drain() {
            registry.listen(self.id, audience, &self.outbox);
        }
        Ok(true)
    }

    /// The missed notifications are not available. The channels that were live before must not miss
    /// any either.
    fn give_up(&mut self, catch_up: &CatchUp<'_>) -> Result<Recovery, Ending> {
        if catch_up.kept.is_empty() {
            return Ok(Recovery::Impossible);
        }
        let hub = Arc::clone(&self.hub);
        let mut registry = hub.registry();
        let (log, end) = registry.standing().map(|(log, next)| (log, next.clone())).ok_or(AWAY)?;
        let is_kept = |entry: &Entry| catch_up.kept.contains(&entry.audience);
        let most = hub.options.live.max_recovery;
        let Since::Missed(since) = registry.tail.since(&catch_up.kept_at, most, is_kept) else {
            // Too many notifications came meanwhile, so these channels cannot continue either.
            return Err(Ending::TooSlow(Slow::Recovery));
        };
        let read = catch_up.missed.iter().filter(|entry| is_kept(entry)).cloned();
        let missed = read.chain(since).collect::<Vec<_>>().into_iter();
        self.outbox.replay(Replay { log, at: catch_up.cursor.next.clone(), missed, end });
        self.go_live(&mut registry, catch_up.wanted, None)?;
        for audience in &catch_up.kept {
            registry.listen(self.id, audience.clone(), &self.outbox);
        }
        Ok(Recovery::OfOthers)
    }
}

impl CatchUp<'_> {
    /// Whether the client still lacks this notification.
    fn lacks(&self, entry: &Entry) -> bool {
        let (audience, partition) = (&entry.audience, entry.partition);
        self.fresh.contains(audience) && entry.offset >= self.fresh_at.of(partition)
            || self.kept.contains(audience) && entry.offset >= self.kept_at.of(partition)
    }

    fn replay(&self, missed: Vec<Arc<Entry>>, end: Positions) -> Replay {
        Replay { log: self.cursor.log, at: self.cursor.next.clone(), missed: missed.into_iter(), end }
    }
}

/// The lower of two positions, for each partition.
fn least(a: &Positions, b: &Positions) -> Positions {
    a.iter().map(|(partition, offset)| (partition, offset.min(b.of(partition)))).collect()
}
