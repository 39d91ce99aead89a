//! The window: the last frames that several clients wait for, stored once for all of them.
//!
//! Each audience with listeners has a feed. The window numbers the frames of all feeds in one
//! order, so a client needs only one number: everything before it has been sent. The window is
//! bounded by the bytes of all its frames. Beyond that, the oldest frames leave it, whether or not
//! a client still needs them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use prometheus::IntGauge;

use super::frame::Frame;

/// The number of a frame in the window.
pub(super) type Seq = u64;

/// How many places of a feed stay allocated when it is empty.
const KEPT_ROOM: usize = 16;

/// The frames of all feeds.
#[derive(Debug)]
pub(super) struct Window {
    max_bytes: usize,
    /// The number of the next frame. Every frame before it is in its feed, or has left the window.
    end: AtomicU64,
    order: Mutex<Order>,
    /// The number of bytes that wait for single clients.
    private: AtomicUsize,
    held: IntGauge,
}

/// The feeds of the frames, by ascending number.
#[derive(Debug, Default)]
struct Order {
    feeds: VecDeque<(Arc<Feed>, usize)>,
    bytes: usize,
    next: Seq,
}

/// The frames of one audience that are in the window.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// One more than the number of the last frame; 0 before the first.
    last: AtomicU64,
    ring: RwLock<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    frames: VecDeque<(Seq, Arc<Frame>)>,
    /// One more than the number of the last frame that left the window; 0 before the first.
    left: Seq,
}

/// A frame that a client needs is no longer in the window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left;

impl Window {
    /// An empty window for at most `max_bytes`. `held` shows the bytes in it.
    pub(super) fn new(max_bytes: usize, held: IntGauge) -> Self {
        let order = Mutex::default();
        Window { max_bytes, end: AtomicU64::new(0), order, private: AtomicUsize::new(0), held }
    }

    /// The number of the next frame.
    pub(super) fn end(&self) -> Seq {
        self.end.load(Ordering::Acquire)
    }

    /// Appends frames, and makes them visible together. The last frame always has room, however
    /// large it is.
    pub(super) fn append<'a>(&self, frames: impl IntoIterator<Item = (&'a Arc<Feed>, &'a Arc<Frame>)>) {
        let mut order = self.order.lock();
        for (feed, frame) in frames {
            let weight = frame.weight();
            feed.push(order.next, Arc::clone(frame));
            order.next += 1;
            order.bytes += weight;
            order.feeds.push_back((Arc::clone(feed), weight));
            while order.bytes > self.max_bytes && order.feeds.len() > 1 {
                order.drop_oldest();
            }
        }
        self.held.set(i64::try_from(order.bytes).unwrap_or(i64::MAX));
        self.end.store(order.next, Ordering::Release);
    }

    /// Adds bytes that wait for a single client. If they are `bounded`, it returns `false`, without
    /// adding them, when they are too many for all clients together.
    pub(super) fn reserve(&self, bytes: usize, bounded: bool) -> bool {
        let most = if bounded { self.max_bytes } else { usize::MAX };
        let add = |sum: usize| sum.checked_add(bytes).filter(|sum| *sum <= most);
        self.private.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Returns bytes that were reserved.
    pub(super) fn release(&self, bytes: usize) {
        self.private.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Order {
    fn drop_oldest(&mut self) {
        if let Some((feed, weight)) = self.feeds.pop_front() {
            feed.drop_oldest();
            self.bytes -= weight;
        }
    }
}

impl Feed {
    fn push(&self, seq: Seq, frame: Arc<Frame>) {
        self.ring.write().frames.push_back((seq, frame));
        self.last.store(seq + 1, Ordering::Release);
    }

    fn drop_oldest(&self) {
        let mut ring = self.ring.write();
        if let Some((seq, _)) = ring.frames.pop_front() {
            ring.left = seq + 1;
        }
        if ring.frames.is_empty() && ring.frames.capacity() > KEPT_ROOM {
            ring.frames = VecDeque::new();
        }
    }

    /// The number of the first frame from `from` on and before `to`.
    pub(super) fn first(&self, from: Seq, to: Seq) -> Result<Option<Seq>, Left> {
        if from >= to || self.last.load(Ordering::Acquire) <= from {
            return Ok(None);
        }
        let ring = self.ring.read();
        let first = ring.find(from)?;
        Ok(ring.frames.get(first).map(|(seq, _)| *seq).filter(|seq| *seq < to))
    }

    /// Hands the frames from `from` on and before `to` to `take`, until it returns `false`. Returns
    /// the number after the last frame that it took.
    pub(super) fn read(
        &self,
        from: Seq,
        to: Seq,
        mut take: impl FnMut(&Arc<Frame>) -> bool,
    ) -> Result<Seq, Left> {
        let ring = self.ring.read();
        let first = ring.find(from)?;
        for (seq, frame) in ring.frames.range(first..) {
            if *seq >= to {
                break;
            }
            if !take(frame) {
                return Ok(seq + 1);
            }
        }
        Ok(to)
    }
}

impl Ring {
    fn find(&self, from: Seq) -> Result<usize, Left> {
        match self.left > from {
            true => Err(Left),
            false => Ok(self.frames.partition_point(|(seq, _)| *seq < from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Arc<Frame> {
        Arc::new(Frame { kind: "error", text: text.into(), cursor: None })
    }

    fn read(feed: &Feed, from: Seq, to: Seq) -> Result<Vec<String>, Left> {
        let mut read = Vec::new();
        feed.read(from, to, |frame| {
            read.push(frame.text.to_string());
            true
        })?;
        Ok(read)
    }

    #[test]
    fn the_bound_covers_the_frames_of_all_feeds() {
        let one = frame("a").weight();
        let held = IntGauge::new("held", "held").unwrap();
        let window = Window::new(3 * one, held.clone());
        let (first, second) = (Arc::new(Feed::default()), Arc::new(Feed::default()));
        let (a, b) = (frame("a"), frame("b"));
        window.append([(&first, &a), (&second, &b), (&first, &b)]);
        assert_eq!((window.end(), held.get()), (3, 3 * one as i64));
        assert_eq!(read(&first, 0, 3), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(
            (first.first(1, 3), first.first(1, 2), second.first(2, 3)),
            (Ok(Some(2)), Ok(None), Ok(None))
        );
        // The fourth frame pushes the first one out. Only who still needs that one is told.
        window.append([(&second, &a)]);
        assert_eq!(held.get(), 3 * one as i64);
        assert_eq!((first.first(0, 4), read(&first, 0, 4)), (Err(Left), Err(Left)));
        assert_eq!(read(&first, 1, 4), Ok(vec!["b".to_owned()]));
        assert_eq!(read(&second, 0, 4), Ok(vec!["b".to_owned(), "a".to_owned()]));
        // A frame that is larger than the window is alone in it.
        window.append([(&first, &frame(&"x".repeat(3 * one)))]);
        assert_eq!((second.first(3, 5), read(&first, 4, 5).unwrap().len()), (Err(Left), 1));
    }

    #[test]
    fn bytes_of_single_clients_are_bounded_together() {
        let window = Window::new(10, IntGauge::new("held", "held").unwrap());
        assert!(window.reserve(6, true) && !window.reserve(5, true) && window.reserve(4, true));
        assert!(window.reserve(1, false));
        window.release(7);
        assert!(window.reserve(5, true));
    }
}
