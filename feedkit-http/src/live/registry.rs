//! How far the reader is, and who listens to what.
//!
//! Both change under one lock: a client begins to listen at a position, and nothing is delivered between the two.

use std::sync::Arc;

use hashbrown::HashMap;

use super::cursor::Cursor;
use super::frame::Frame;
use super::outbox::Outbox;
use super::tail::{Entry, Tail};
use feedkit_core::notification::Audience;
use feedkit_core::{Offset, Partition, Positions};

/// Names a client within the process.
pub(super) type ClientId = u64;

/// What the lock holds.
#[derive(Debug)]
pub(super) struct Registry {
    /// Where the reader stands; `None` before it has begun, and while it does not know.
    standing: Option<Standing>,
    pub(super) tail: Tail,
    listeners: HashMap<Audience, HashMap<ClientId, Arc<Outbox>>>,
}

#[derive(Debug)]
struct Standing {
    log: u128,
    next: Positions,
    /// The two as a cursor, once somebody has asked.
    cursor: Option<Arc<str>>,
}

/// A notification that was read, and the frame of it.
pub(super) struct Delivery {
    pub(super) entry: Arc<Entry>,
    pub(super) frame: Arc<Frame>,
}

impl Registry {
    /// Nobody listens, nothing was read.
    pub(super) fn new(tail: usize) -> Self {
        Registry { standing: None, tail: Tail::new(tail), listeners: HashMap::new() }
    }

    /// The reader goes on at `next`; `tail` is what lies just before.
    pub(super) fn begin(&mut self, log: u128, next: Positions, tail: Tail) {
        self.standing = Some(Standing { log, next, cursor: None });
        self.tail = tail;
    }

    /// The reader does not stand anywhere, until it begins again.
    pub(super) fn stop(&mut self) {
        self.standing = None;
    }

    /// A partition that was not there before is read from `offset` on.
    pub(super) fn add(&mut self, partition: Partition, offset: Offset) {
        if let Some(standing) = &mut self.standing {
            standing.next.set(partition, offset);
            standing.cursor = None;
        }
        self.tail.begin(partition, offset);
    }

    /// The log's incarnation and the next offset of every partition, when the reader has begun.
    pub(super) fn standing(&self) -> Option<(u128, &Positions)> {
        self.standing.as_ref().map(|s| (s.log, &s.next))
    }

    /// The same as a cursor.
    pub(super) fn cursor(&mut self) -> Option<Arc<str>> {
        let Standing { log, next, cursor } = self.standing.as_mut()?;
        Some(Arc::clone(cursor.get_or_insert_with(|| Cursor::encode(*log, next).into())))
    }

    /// Hands out what was read of `partition`, which now stands at `to`. How many frames were put into outboxes.
    pub(super) fn deliver(&mut self, read: &[Delivery], partition: Partition, to: Offset) -> u64 {
        let mut pushed = 0;
        for Delivery { entry, frame } in read {
            if !self.tail.push(Arc::clone(entry)) {
                continue;
            }
            let listeners = self.listeners.get(&entry.audience).into_iter().flat_map(HashMap::values);
            for outbox in listeners {
                outbox.push(Arc::clone(frame));
                pushed += 1;
            }
        }
        if let Some(standing) = &mut self.standing {
            standing.next.advance(partition, to);
            standing.cursor = None;
        }
        pushed
    }

    /// From now on `client` is told what `audience` is.
    pub(super) fn listen(&mut self, client: ClientId, audience: Audience, outbox: &Arc<Outbox>) {
        self.listeners.entry(audience).or_default().insert(client, Arc::clone(outbox));
    }

    /// From now on it is not.
    pub(super) fn leave(&mut self, client: ClientId, audience: &Audience) {
        if let Some(listeners) = self.listeners.get_mut(audience) {
            listeners.remove(&client);
            if listeners.is_empty() {
                self.listeners.remove(audience);
            }
        }
    }
}
