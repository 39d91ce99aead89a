//! Everything that waits to be sent to one client: its position in the window, and the frames for
//! it alone.
//!
//! A client that does not read costs its position, and the frames for it alone, which are bounded.
//! The notifications that wait for it are in the window, which all clients share.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::channel::channel_of;
use super::cursor::Cursor;
use super::ending::Slow;
use super::frame::Frame;
use super::tail::Entry;
use super::window::{Feed, Left, Seq, Window};
use feedkit_core::{Positions, PostId};

/// How many places stay allocated when the queue is empty.
const KEPT_ROOM: usize = 64;

/// How many bytes of frames a client takes from the window at once. It holds them until they are
/// written, even if they leave the window.
const TAKEN_BYTES: usize = 4096;

/// The outbox of one client. The client's own task fills and empties it. Other tasks add counts.
#[derive(Debug)]
pub(super) struct Outbox {
    max_bytes: usize,
    window: Arc<Window>,
    state: Mutex<State>,
    /// Wakes the client's task, which is the only one that waits.
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The client has all frames before this one.
    at: Seq,
    feeds: Vec<Listening>,
    /// The items for this client alone. Each is sent after the frames of the window before its
    /// number.
    own: VecDeque<(Seq, Item)>,
    /// The number of bytes of the frames in `own`. They are reserved in the window.
    own_bytes: usize,
    /// Counts that wait, the latest of each post.
    counts: HashMap<PostId, Arc<Frame>>,
    counts_bytes: usize,
    /// Whether more frames came for this client alone than there was room for.
    full: bool,
}

/// The frames of a feed that the client gets: those from `from` on and before `until`.
#[derive(Debug)]
struct Listening {
    feed: Arc<Feed>,
    from: Seq,
    until: Seq,
}

#[derive(Debug)]
enum Item {
    Frame(Arc<Frame>),
    Replay(Box<Replay>),
}

/// The notifications that a client missed. They become frames only when they are sent.
///
/// They do not count against the bytes of the client: the entries are shared with the tail, or were
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
    /// An empty outbox at the end of `window`, for at most `max_bytes` of frames for this client
    /// alone.
    pub(super) fn new(window: &Arc<Window>, max_bytes: usize) -> Self {
        Outbox { max_bytes, window: Arc::clone(window), state: Mutex::default(), filled: Notify::new() }
    }

    /// Begins to send the frames of `feed` that are appended from now on.
    pub(super) fn listen(&self, feed: &Arc<Feed>) {
        let mut state = self.state.lock();
        let is_present = |l: &Listening| Arc::ptr_eq(&l.feed, feed) && l.until == Seq::MAX;
        if !state.feeds.iter().any(is_present) {
            let from = self.window.end();
            // Most clients have only one or two feeds.
            state.feeds.reserve_exact(1);
            state.feeds.push(Listening { feed: Arc::clone(feed), from, until: Seq::MAX });
        }
    }

    /// Ends this. Frames that already wait are still sent.
    pub(super) fn leave(&self, feed: &Arc<Feed>) {
        let end = self.window.end();
        let mut state = self.state.lock();
        let present = state.feeds.iter_mut().filter(|l| Arc::ptr_eq(&l.feed, feed));
        present.for_each(|l| l.until = l.until.min(end));
        state.forget_ended();
    }

    /// Tells the client's task that frames were appended to the window.
    pub(super) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Appends a frame for this client alone. A single frame always has room, however large it is.
    pub(super) fn push(&self, frame: Arc<Frame>) {
        let mut state = self.state.lock();
        if !state.full {
            let bytes = frame.weight();
            let is_single = state.own_bytes == 0;
            let has_room = is_single || state.bytes() + bytes <= self.max_bytes;
            if has_room && self.window.reserve(bytes, !is_single) {
                state.own_bytes += bytes;
                state.own.push_back((self.window.end(), Item::Frame(frame)));
            } else {
                self.overflow(&mut state);
            }
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Appends the missed notifications.
    pub(super) fn replay(&self, replay: Replay) {
        let mut state = self.state.lock();
        if !state.full && replay.missed.len() > 0 {
            state.own.push_back((self.window.end(), Item::Replay(Box::new(replay))));
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Replaces the waiting counts of `post`.
    pub(super) fn counts(&self, post: &PostId, frame: Arc<Frame>) {
        let mut state = self.state.lock();
        if !state.full {
            state.counts_bytes += frame.weight();
            if let Some(replaced) = state.counts.insert(post.clone(), frame) {
                state.counts_bytes -= replaced.weight();
            }
            if state.counts.len() > 1 && state.bytes() > self.max_bytes {
                self.overflow(&mut state);
            }
        }
        drop(state);
        self.filled.notify_one();
    }

    fn overflow(&self, state: &mut State) {
        self.window.release(state.own_bytes);
        *state = State { full: true, ..State::default() };
    }

    /// Removes and returns the next frame. An error says why the client cannot continue.
    pub(super) async fn next(&self) -> Result<Arc<Frame>, Slow> {
        loop {
            let mut next = None;
            self.drain(|frame| {
                next = Some(frame);
                false
            })?;
            match next {
                Some(frame) => return Ok(frame),
                None => self.filled.notified().await,
            }
        }
    }

    /// Moves the next frames to `batch`, at most `most`. They are few enough to be written at once.
    pub(super) fn take(&self, batch: &mut Vec<Arc<Frame>>, most: usize) -> Result<(), Slow> {
        let mut bytes = 0;
        self.drain(|frame| {
            bytes += frame.text.len();
            batch.push(frame);
            batch.len() < most && bytes < TAKEN_BYTES
        })
    }

    /// Hands the waiting frames to `take`, until it returns `false`. Counts come last.
    fn drain(&self, mut take: impl FnMut(Arc<Frame>) -> bool) -> Result<(), Slow> {
        let mut state = self.state.lock();
        if state.full {
            return Err(Slow::OwnBytes);
        }
        loop {
            let to = state.own.front().map_or_else(|| self.window.end(), |(seq, _)| *seq);
            if !state.drain_window(to, &mut take).map_err(|Left| Slow::Window)? {
                return Ok(());
            }
            let frame = match state.own.is_empty() {
                true => state.next_counts(),
                false => match state.next_own() {
                    Some((frame, bytes)) => {
                        self.window.release(bytes);
                        Some(frame)
                    }
                    // A replay has ended.
                    None => continue,
                },
            };
            let Some(frame) = frame else { return Ok(()) };
            if !take(frame) {
                return Ok(());
            }
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.window.release(self.state.get_mut().own_bytes);
    }
}

impl State {
    /// The number of bytes that wait for this client alone.
    fn bytes(&self) -> usize {
        self.own_bytes + self.counts_bytes
    }

    /// Hands the frames of the window before `to` to `take`. Returns `false` once `take` does.
    fn drain_window(&mut self, to: Seq, take: &mut impl FnMut(Arc<Frame>) -> bool) -> Result<bool, Left> {
        while let Some((listening, until)) = self.next_feed(to)? {
            let mut goes_on = true;
            let from = self.at.max(listening.from);
            self.at = listening.feed.read(from, until, |frame| {
                goes_on = take(Arc::clone(frame));
                goes_on
            })?;
            if !goes_on {
                return Ok(false);
            }
        }
        self.at = self.at.max(to);
        self.forget_ended();
        Ok(true)
    }

    /// The feed with the next frame before `to`, and the number up to which no other feed has one.
    fn next_feed(&self, to: Seq) -> Result<Option<(&Listening, Seq)>, Left> {
        let mut next: Option<(Seq, &Listening, Seq)> = None;
        let mut others = to;
        for listening in &self.feeds {
            let until = listening.until.min(to);
            let Some(seq) = listening.feed.first(self.at.max(listening.from), until)? else { continue };
            match next {
                Some((first, ..)) if first < seq => others = others.min(seq),
                _ => {
                    if let Some((first, ..)) = next {
                        others = others.min(first);
                    }
                    next = Some((seq, listening, until));
                }
            }
        }
        Ok(next.map(|(_, listening, until)| (listening, until.min(others))))
    }

    fn forget_ended(&mut self) {
        let at = self.at;
        self.feeds.retain(|listening| listening.until > at.max(listening.from));
    }

    /// The next frame for this client alone, and how many bytes were reserved for it.
    fn next_own(&mut self) -> Option<(Arc<Frame>, usize)> {
        let next = match self.own.pop_front()? {
            (_, Item::Frame(frame)) => {
                let bytes = frame.weight();
                self.own_bytes -= bytes;
                Some((frame, bytes))
            }
            (seq, Item::Replay(mut replay)) => replay.next_frame().map(|frame| {
                self.own.push_front((seq, Item::Replay(replay)));
                (Arc::new(frame), 0)
            }),
        };
        if self.own.is_empty() && self.own.capacity() > KEPT_ROOM {
            self.own = VecDeque::new();
        }
        next
    }

    fn next_counts(&mut self) -> Option<Arc<Frame>> {
        let post = self.counts.keys().next()?.clone();
        let frame = self.counts.remove(&post)?;
        self.counts_bytes -= frame.weight();
        if self.counts.is_empty() {
            self.counts = HashMap::new();
        }
        Some(frame)
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
    use prometheus::IntGauge;

    use super::*;

    fn frame(text: &str) -> Arc<Frame> {
        Arc::new(Frame { kind: "error", text: text.into(), cursor: None })
    }

    fn window(max_bytes: usize) -> Arc<Window> {
        Arc::new(Window::new(max_bytes, IntGauge::new("held", "held").unwrap()))
    }

    fn texts(outbox: &Outbox) -> Result<Vec<String>, Slow> {
        let mut texts = Vec::new();
        outbox.drain(|frame| {
            texts.push(frame.text.to_string());
            true
        })?;
        Ok(texts)
    }

    fn feeds<const N: usize>() -> [Arc<Feed>; N] {
        std::array::from_fn(|_| Arc::default())
    }

    #[test]
    fn order_is_kept_and_counts_are_the_latest() {
        let window = window(10_000);
        let outbox = Outbox::new(&window, 1000);
        let [feed, other] = feeds();
        outbox.listen(&feed);
        outbox.listen(&other);
        outbox.listen(&feed);
        let post = PostId::new("p9").unwrap();
        outbox.counts(&post, frame("1 like"));
        outbox.push(frame("before"));
        let all: Vec<_> = (0..6).map(|i| frame(&i.to_string())).collect();
        window.append([(&feed, &all[0]), (&feed, &all[1]), (&other, &all[2]), (&feed, &all[3])]);
        outbox.push(frame("between"));
        window.append([(&other, &all[4]), (&feed, &all[5])]);
        outbox.counts(&post, frame("2 likes"));
        let sent = ["before", "0", "1", "2", "3", "between", "4", "5", "2 likes"];
        assert_eq!(texts(&outbox).unwrap(), sent);
        assert_eq!(texts(&outbox).unwrap(), [] as [&str; 0]);
    }

    #[test]
    fn a_batch_ends_with_its_frames_or_bytes_and_the_next_continues() {
        let window = window(1_000_000);
        let outbox = Outbox::new(&window, 1000);
        let [feed, other] = feeds();
        outbox.listen(&feed);
        outbox.listen(&other);
        let large = frame(&"x".repeat(TAKEN_BYTES));
        window.append([(&feed, &frame("1")), (&other, &frame("2")), (&feed, &large), (&other, &frame("3"))]);
        let batch = |most| {
            let mut batch = Vec::new();
            outbox.take(&mut batch, most).unwrap();
            batch.iter().map(|frame| frame.text.len()).collect::<Vec<_>>()
        };
        assert_eq!(
            (batch(1), batch(9), batch(9), batch(9)),
            (vec![1], vec![1, TAKEN_BYTES], vec![1], vec![])
        );
    }

    #[test]
    fn a_client_gets_a_feed_from_when_it_comes_until_it_leaves() {
        let window = window(10_000);
        let outbox = Outbox::new(&window, 1000);
        let [feed, other] = feeds();
        outbox.listen(&other);
        window.append([(&feed, &frame("too early")), (&other, &frame("a"))]);
        outbox.listen(&feed);
        window.append([(&feed, &frame("b"))]);
        outbox.leave(&feed);
        window.append([(&feed, &frame("gone")), (&other, &frame("c"))]);
        outbox.listen(&feed);
        window.append([(&feed, &frame("d"))]);
        assert_eq!(texts(&outbox).unwrap(), ["a", "b", "c", "d"]);
        assert_eq!(outbox.state.lock().feeds.len(), 2, "what has ended is forgotten");
    }

    #[test]
    fn only_who_still_needs_what_has_left_is_ended() {
        let one = frame("1").weight();
        let window = window(2 * one);
        let [feed, other] = feeds();
        let (slow, fast, elsewhere) =
            (Outbox::new(&window, 1000), Outbox::new(&window, 1000), Outbox::new(&window, 1000));
        slow.listen(&feed);
        fast.listen(&feed);
        elsewhere.listen(&other);
        window.append([(&other, &frame("0"))]);
        assert_eq!(texts(&elsewhere).unwrap(), ["0"]);
        window.append([(&feed, &frame("1")), (&feed, &frame("2"))]);
        assert_eq!(texts(&fast).unwrap(), ["1", "2"]);
        window.append([(&feed, &frame("3"))]);
        assert_eq!(texts(&fast).unwrap(), ["3"]);
        assert_eq!(texts(&elsewhere).unwrap(), [] as [&str; 0]);
        assert_eq!(texts(&slow), Err(Slow::Window));
    }

    #[tokio::test]
    async fn too_many_bytes_for_one_client_end_it() {
        let window = window(10_000);
        let outbox = Outbox::new(&window, 2 * frame("12345").weight());
        outbox.push(frame(&"longer than that".repeat(100)));
        assert_eq!(texts(&outbox).unwrap().len(), 1, "one alone always has room");
        (0..3).for_each(|_| outbox.push(frame("12345")));
        outbox.push(frame("after"));
        assert_eq!(texts(&outbox), Err(Slow::OwnBytes));
        assert_eq!(outbox.next().await, Err(Slow::OwnBytes));
        let counting = Outbox::new(&window, 2 * frame("12345").weight());
        for post in ["p1", "p2", "p1", "p3"] {
            assert!(texts(&counting).is_ok());
            counting.counts(&PostId::new(post).unwrap(), frame("12345"));
        }
        assert!(texts(&counting).is_ok(), "counts that were sent do not count");
        for post in ["p1", "p2", "p1", "p3"] {
            counting.counts(&PostId::new(post).unwrap(), frame("12345"));
        }
        assert_eq!(texts(&counting), Err(Slow::OwnBytes));
    }

    #[test]
    fn bytes_for_single_clients_are_bounded_in_all_and_given_back() {
        let one = frame("1").weight();
        let window = window(3 * one);
        let (a, b) = (Outbox::new(&window, 1000), Outbox::new(&window, 1000));
        (0..2).for_each(|_| a.push(frame("1")));
        (0..2).for_each(|_| b.push(frame("1")));
        assert_eq!((texts(&b), texts(&a).unwrap().len()), (Err(Slow::OwnBytes), 2));
        let c = Outbox::new(&window, 1000);
        (0..3).for_each(|_| c.push(frame("1")));
        drop(c);
        (0..3).for_each(|_| a.push(frame("1")));
        assert_eq!(texts(&a).unwrap().len(), 3);
    }
}
