//! The reader's position, and the listeners of each audience.
//!
//! Both change under one lock: a client begins to listen at a position, and nothing is delivered
//! between the two.

use std::sync::Arc;

use hashbrown::HashMap;

use super::cursor::Cursor;
use super::frame::Frame;
use super::outbox::Outbox;
use super::tail::{Entry, Tail};
use super::window::{Feed, Window};
use feedkit_core::notification::Audience;
use feedkit_core::{Offset, Partition, Positions};

/// Identifies a client within the process.
pub(super) type ClientId = u64;

/// The state under the lock.
#[derive(Debug)]
pub(super) struct Registry {
    /// The reader's position; `None` before it has started, and while it is unknown.
    standing: Option<Standing>,
    pub(super) tail: Tail,
    window: Arc<Window>,
    audiences: HashMap<Audience, Listeners>,
}

/// An audience that at least one client listens to.
#[derive(Debug, Default)]
struct Listeners {
    feed: Arc<Feed>,
    outboxes: HashMap<ClientId, Arc<Outbox>>,
}

#[derive(Debug)]
struct Standing {
    log: u128,
    next: Positions,
    /// Both as a cursor, created when it is first needed.
    cursor: Option<Arc<str>>,
}

/// A notification and its frame.
pub(super) struct Delivery {
    pub(super) entry: Arc<Entry>,
    pub(super) frame: Arc<Frame>,
}

impl Registry {
    /// A registry without listeners, which delivers through `window`.
    pub(super) fn new(tail: usize, window: Arc<Window>) -> Self {
        Registry { standing: None, tail: Tail::new(tail), window, audiences: HashMap::new() }
    }

    /// Sets the reader's position to `next`. `tail` has the notifications just before it.
    pub(super) fn begin(&mut self, log: u128, next: Positions, tail: Tail) {
        self.standing = Some(Standing { log, next, cursor: None });
        self.tail = tail;
    }

    /// Forgets the reader's position until it starts again.
    pub(super) fn stop(&mut self) {
        self.standing = None;
    }

    /// Adds a new partition, which is read from `offset` on.
    pub(super) fn add(&mut self, partition: Partition, offset: Offset) {
        if let Some(standing) = &mut self.standing {
            standing.next.set(partition, offset);
            standing.cursor = None;
        }
        self.tail.begin(partition, offset);
    }

    /// The log's incarnation and the next offset of every partition, once the reader has started.
    pub(super) fn standing(&self) -> Option<(u128, &Positions)> {
        self.standing.as_ref().map(|s| (s.log, &s.next))
    }

    /// The same as a cursor.
    pub(super) fn cursor(&mut self) -> Option<Arc<str>> {
        let Standing { log, next, cursor } = self.standing.as_mut()?;
        Some(Arc::clone(cursor.get_or_insert_with(|| Cursor::encode(*log, next).into())))
    }

    /// Delivers notifications of `partition`, whose position is now `to`. Returns how many frames
    /// clients get, counted once for each client.
    pub(super) fn deliver(&mut self, read: &[Delivery], partition: Partition, to: Offset) -> u64 {
        let (mut frames, mut delivered) = (Vec::with_capacity(read.len()), 0);
        let mut woken: Vec<&Listeners> = Vec::new();
        for Delivery { entry, frame } in read {
            if !self.tail.push(Arc::clone(entry)) {
                continue;
            }
            let Some(listeners) = self.audiences.get(&entry.audience) else { continue };
            delivered += listeners.outboxes.len() as u64;
            frames.push((&listeners.feed, frame));
            // Few audiences appear in one chunk, and most often one after the other.
            if !woken.iter().rev().any(|known| std::ptr::eq(*known, listeners)) {
                woken.push(listeners);
            }
        }
        if !frames.is_empty() {
            self.window.append(frames);
        }
        woken.iter().flat_map(|listeners| listeners.outboxes.values()).for_each(|outbox| outbox.wake());
        if let Some(standing) = &mut self.standing {
            standing.next.advance(partition, to);
            standing.cursor = None;
        }
        delivered
    }

    /// Adds `client` to the listeners of `audience`.
    pub(super) fn listen(&mut self, client: ClientId, audience: Audience, outbox: &Arc<Outbox>) {
        let listeners = self.audiences.entry(audience).or_default();
        outbox.listen(&listeners.feed);
        listeners.outboxes.insert(client, Arc::clone(outbox));
    }

    /// Removes `client` from the listeners of `audience`. It still gets the frames that wait for
    /// it.
    pub(super) fn leave(&mut self, client: ClientId, audience: &Audience) {
        if let Some(listeners) = self.audiences.get_mut(audience) {
            if let Some(outbox) = listeners.outboxes.remove(&client) {
                outbox.leave(&listeners.feed);
            }
            if listeners.outboxes.is_empty() {
                self.audiences.remove(audience);
            }
        }
    }
}
