//! Events, batches and entries for tests of backends.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::InvalidEvent;
use crate::effect::{Effect, LoggedEvent};
use crate::history::{CommitBatch, Rejected};
use crate::journal::JournalEntry;
use crate::source::{Record, RecordMark};
use crate::{Epoch, Event, EventId, EventKind, Offset, Partition, PostId, Timestamp, UserId};

/// The incarnation of the log that the batches of [`batch`] belong to.
pub const LOG: u128 = 0x5eed;

/// The start of an hour. The times of this module are relative to it.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// The time this many seconds after [`START`].
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START.as_millis() + 1000 * seconds)
}

/// Creates a user with this name.
///
/// # Panics
///
/// Panics if the name is not valid.
pub fn user(name: &str) -> UserId {
    UserId::new(name).expect("tests use valid names of users")
}

/// Creates a post with this name.
///
/// # Panics
///
/// Panics if the name is not valid.
pub fn post(name: &str) -> PostId {
    PostId::new(name).expect("tests use valid names of posts")
}

/// Creates an event with a unique id. Its time is [`START`] plus one second per offset.
///
/// # Panics
///
/// Panics if a name is not valid.
pub fn event(offset: Offset, user_name: &str, post_name: &str, kind: &str) -> LoggedEvent {
    let kind = EventKind::new(kind).expect("tests use valid names of kinds");
    let time = at(offset as i64);
    // Events at the same offset of different partitions must have different ids.
    let seed = xxhash_rust::xxh3::xxh3_128(format!("{offset} {user_name} {post_name} {kind}").as_bytes());
    let text = (kind == EventKind::Comment).then(|| format!("text {offset}"));
    let event = Event {
        id: EventId::derived(time, seed),
        user: user(user_name),
        post: post(post_name),
        kind,
        time,
        received_at: None,
        text,
        attributes: Default::default(),
    };
    LoggedEvent { offset, event }
}

/// Shares one store, for suites that need one value to write to and one to query.
pub fn shared<T>(store: T) -> (Arc<T>, Arc<T>) {
    let store = Arc::new(store);
    (Arc::clone(&store), store)
}

/// A record that is not an event.
pub fn rejected(offset: Offset) -> Rejected {
    let value = Bytes::from_static(b"{\xff");
    let record = Record { offset, time: at(offset as i64), key: None, value };
    Rejected::new(&record, InvalidEvent::of("userId", "is missing"))
}

/// Creates a batch of partition 0 under this epoch.
pub fn batch(epoch: Epoch, from: Offset, to: Offset, events: Vec<LoggedEvent>) -> CommitBatch {
    let last = RecordMark { offset: to.saturating_sub(1), time: at(to as i64), hash: to };
    CommitBatch {
        partition: Partition(0),
        epoch,
        log: LOG,
        from,
        to,
        at_end: true,
        events,
        rejected: Vec::new(),
        last: Some(last),
        now: at(to as i64),
    }
}

/// Creates an entry of partition 0. It has an effect for each triple of user, post and kind, at
/// successive offsets from `from` on.
///
/// # Panics
///
/// Panics if a name is not valid.
pub fn entry(from: Offset, to: Offset, effects: &[(&str, &str, &str)]) -> Arc<JournalEntry> {
    let effects: Vec<Effect> = (from..)
        .zip(effects)
        .map(|(offset, (user, post, kind))| event(offset, user, post, kind).effect())
        .collect();
    Arc::new(JournalEntry { partition: Partition(0), from, to, epoch: 1, at_end: true, effects })
}
