//! The frames that wait to be sent to one client. The queue is bounded: a client that is too slow
//! is told to reconnect.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::channel::channel_of;
use super::cursor::Cursor;
use super::frame::Frame;
use super::tail::Entry;
use feedkit_core::{Positions, PostId};

/// How many places stay allocated when the queue is empty.
const KEPT_ROOM: usize = 64;

/// The queue of one client. Many tasks fill it, and the client's own task empties it.
#[derive(Debug)]
pub(super) struct Outbox {
    max_bytes: usize,
    state: Mutex<State>,
    /// Wakes the client's task, which is the only one that waits.
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// The number of bytes of the frames in `items`.
    bytes: usize,
    /// Counts that wait, the latest of each post.
    counts: HashMap<PostId, Arc<Frame>>,
    /// Whether more frames came than there was room for.
    full: bool,
}

#[derive(Debug)]
enum Item {
    Frame(Arc<Frame>),
    Replay(Box<Replay>),
}

/// The notifications that a client missed. They become frames only when they are sent.
///
/// They do not count against the bytes of the outbox: the entries are shared with the tail, or were
/// limited when they were read from the log.
#[derive(Debug)]
pub(super) struct Replay {
    /// The log's incarnation.
    pub(super) log: u128,
    /// The position up to which the client has everything.
    pub(super) at: Positions,
    /// The missed notifications.
    pub(super) missed: std::vec::IntoIter<Arc<Entry>>,
    /// The client's position after the last of them.
    pub(super) end: Positions,
}

impl Outbox {
    /// An empty outbox for at most `max_bytes` of frames.
    pub(super) fn new(max_bytes: usize) -> Self {
        Outbox { max_bytes, state: Mutex::default(), filled: Notify::new() }
    }

    /// Appends a frame. A single frame always has room, however large it is.
    pub(super) fn push(&self, frame: Arc<Frame>) {
        let mut state = self.state();
        if state.full {
            return;
        }
        let bytes = state.bytes + frame.text.len();
        if bytes > self.max_bytes && state.bytes > 0 {
            *state = State { full: true, ..State::default() };
        } else {
            state.bytes = bytes;
            state.items.push_back(Item::Frame(frame));
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Appends the missed notifications.
    pub(super) fn replay(&self, replay: Replay) {
        let mut state = self.state();
        if !state.full && replay.missed.len() > 0 {
            state.items.push_back(Item::Replay(Box::new(replay)));
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Replaces the waiting counts of `post`.
    pub(super) fn counts(&self, post: &PostId, frame: Arc<Frame>) {
        let mut state = self.state();
        if !state.full {
            state.counts.insert(post.clone(), frame);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Removes and returns the next frame; `None` if the outbox has overflowed.
    pub(super) async fn next(&self) -> Option<Arc<Frame>> {
        loop {
            if let Some(frame) = self.try_next() {
                return Some(frame);
            }
            if self.state().full {
                return None;
            }
            self.filled.notified().await;
        }
    }

    /// The next frame, if one waits. Counts come last.
    pub(super) fn try_next(&self) -> Option<Arc<Frame>> {
        let mut state = self.state();
        let frame = state.next_item().or_else(|| state.next_counts());
        if state.items.is_empty() && state.items.capacity() > KEPT_ROOM {
            state.items = VecDeque::new();
        }
        frame
    }

    /// Returns when the outbox has overflowed.
    pub(super) async fn overflowed(&self) {
        while !self.state().full {
            self.filled.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn next_item(&mut self) -> Option<Arc<Frame>> {
        loop {
            match self.items.pop_front()? {
                Item::Frame(frame) => {
                    self.bytes -= frame.text.len();
                    return Some(frame);
                }
                Item::Replay(mut replay) => {
                    let Some(frame) = replay.next_frame() else { continue };
                    self.items.push_front(Item::Replay(replay));
                    return Some(Arc::new(frame));
                }
            }
        }
    }

    fn next_counts(&mut self) -> Option<Arc<Frame>> {
        let post = self.counts.keys().next()?.clone();
        let frame = self.counts.remove(&post);
        if self.counts.is_empty() {
            self.counts = HashMap::new();
        }
        frame
    }
}

impl Replay {
    fn next_frame(&mut self) -> Option<Frame> {
        let entry = self.missed.next()?;
        match self.missed.len() {
            0 => self.at = std::mem::take(&mut self.end),
            _ => self.at.advance(entry.partition, entry.offset + 1),
        }
        let cursor = Cursor::encode(self.log, &self.at);
        Some(Frame::notification(&channel_of(&entry.audience), cursor.into(), &entry.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Arc<Frame> {
        Arc::new(Frame { kind: "error", text: text.into(), cursor: None })
    }

    fn texts(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.try_next()).map(|f| f.text.to_string()).collect()
    }

    #[test]
    fn order_is_kept_and_counts_are_the_latest() {
        let outbox = Outbox::new(100);
        let post = PostId::new("p9").unwrap();
        outbox.counts(&post, frame("1 like"));
        outbox.push(frame("a"));
        outbox.push(frame("b"));
        outbox.counts(&post, frame("2 likes"));
        assert_eq!(texts(&outbox), ["a", "b", "2 likes"]);
    }

    #[tokio::test]
    async fn too_much_is_dropped_as_a_whole_and_said() {
        let outbox = Outbox::new(10);
        outbox.push(frame("longer than ten bytes"));
        assert_eq!(texts(&outbox).len(), 1, "one alone always has room");
        outbox.push(frame("12345"));
        outbox.push(frame("12345"));
        outbox.push(frame("1"));
        outbox.push(frame("after"));
        assert_eq!(texts(&outbox), [] as [&str; 0]);
        assert_eq!(outbox.next().await, None);
        outbox.overflowed().await;
    }
}
