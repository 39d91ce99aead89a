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
    listeners: HashMap<Audience, HashMap<ClientId, Arc<Outbox>>>,
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
    /// A registry without listeners.
    pub(super) fn new(tail: usize) -> Self {
        Registry { standing: None, tail: Tail::new(tail), listeners: HashMap::new() }
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
    /// were put into outboxes.
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

    /// Adds `client` to the listeners of `audience`.
    pub(super) fn listen(&mut self, client: ClientId, audience: Audience, outbox: &Arc<Outbox>) {
        self.listeners.entry(audience).or_default().insert(client, Arc::clone(outbox));
    }

    /// Removes `client` from the listeners of `audience`.
    pub(super) fn leave(&mut self, client: ClientId, audience: &Audience) {
        if let Some(listeners) = self.listeners.get_mut(audience) {
            listeners.remove(&client);
            if listeners.is_empty() {
                self.listeners.remove(audience);
            }
        }
    }
}
