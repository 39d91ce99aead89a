//! The last counts of each post that a client listens to, and who those clients are.
//!
//! Counts have no cursor, unlike notifications: of each post only the latest counts wait to be
//! sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::channel::Channel;
use super::frame::Frame;
use super::outbox::Outbox;
use super::registry::ClientId;
use feedkit_core::PostId;
use feedkit_core::queries::PostView;

/// The listeners of counts, and the last counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    board: Mutex<Board>,
    /// Wakes the reader of counts when a client listens to a post without known counts.
    pub(super) wanted: Notify,
}

type Listeners = HashMap<ClientId, Arc<Outbox>>;

#[derive(Debug, Default)]
pub(super) struct Board {
    posts: HashMap<PostId, Listeners>,
    top_listeners: Listeners,
    top: Option<Vec<PostId>>,
    /// The last counts of the posts with listeners and of the posts in `top`.
    known: HashMap<PostId, (BTreeMap<String, i64>, Arc<Frame>)>,
    /// Posts whose first counts a client waits for.
    fresh: HashSet<PostId>,
}

impl Counts {
    /// Adds `client` to the listeners of `channel`, and sends it the counts that are known.
    pub(super) fn listen(&self, client: ClientId, channel: Channel, outbox: &Arc<Outbox>) {
        let mut board = self.board();
        let board = &mut *board;
        match channel {
            Channel::Post(post) => {
                match board.known.get(&post) {
                    Some((_, frame)) => outbox.counts(&post, Arc::clone(frame)),
                    None => drop(board.fresh.insert(post.clone())),
                }
                board.posts.entry(post).or_default().insert(client, Arc::clone(outbox));
            }
            Channel::Top => {
                for post in board.top.iter().flatten() {
                    if let Some((_, frame)) = board.known.get(post) {
                        outbox.counts(post, Arc::clone(frame));
                    }
                }
                board.top_listeners.insert(client, Arc::clone(outbox));
            }
            Channel::Me | Channel::Role(_) => return,
        }
        self.wanted.notify_one();
    }

    /// Removes `client` from the listeners of `channel`.
    pub(super) fn leave(&self, client: ClientId, channel: &Channel) {
        let mut board = self.board();
        match channel {
            Channel::Post(post) => {
                if let Some(listeners) = board.posts.get_mut(post) {
                    listeners.remove(&client);
                    if listeners.is_empty() {
                        board.posts.remove(post);
                        board.fresh.remove(post);
                        board.tidy(&[post]);
                    }
                }
            }
            Channel::Top => {
                board.top_listeners.remove(&client);
                if board.top_listeners.is_empty() {
                    let top = board.top.take().unwrap_or_default();
                    board.tidy(&top.iter().collect::<Vec<_>>());
                }
            }
            Channel::Me | Channel::Role(_) => {}
        }
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock()
    }

    /// The posts to read now, and whether to read the top. Between rounds, these are only posts
    /// whose first counts a client waits for.
    pub(super) fn ask(&self, whole_round: bool) -> (Vec<PostId>, bool) {
        let board = self.board();
        let of_top = !board.top_listeners.is_empty();
        match whole_round {
            true => (board.posts.keys().cloned().collect(), of_top),
            false => (board.fresh.iter().cloned().collect(), of_top && board.top.is_none()),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        let board = self.board();
        board.posts.is_empty() && board.top_listeners.is_empty()
    }
}

impl Board {
    /// Sends the changed counts to their listeners.
    pub(super) fn take(&mut self, views: Vec<PostView>, top: Option<Vec<PostId>>) {
        let mut entered = Vec::new();
        if let Some(now) = top.filter(|_| !self.top_listeners.is_empty()) {
            let before = self.top.replace(now.clone()).unwrap_or_default();
            entered.extend(now.iter().filter(|post| !before.contains(post)).cloned());
            self.tidy(&before.iter().collect::<Vec<_>>());
        }
        for PostView { post_id: post, counts, .. } in views {
            self.fresh.remove(&post);
            if !self.is_wanted(&post) {
                continue;
            }
            let changed = self.known.get(&post).is_none_or(|(known, _)| *known != counts);
            if changed {
                let frame = Arc::new(Frame::counts(&post, &counts));
                self.known.insert(post.clone(), (counts, frame));
            }
            let Some((_, frame)) = self.known.get(&post) else { continue };
            let of_post = self.posts.get(&post).filter(|_| changed);
            let in_top = self.top.as_ref().is_some_and(|top| top.contains(&post));
            let of_top = Some(&self.top_listeners).filter(|_| changed && in_top || entered.contains(&post));
            for outbox in of_post.into_iter().chain(of_top).flat_map(HashMap::values) {
                outbox.counts(&post, Arc::clone(frame));
            }
        }
    }

    /// Forgets those of `posts` that have no listener left, because their counts would become old.
    fn tidy(&mut self, posts: &[&PostId]) {
        for post in posts {
            if !self.is_wanted(post) {
                self.known.remove(*post);
            }
        }
    }

    fn is_wanted(&self, post: &PostId) -> bool {
        self.posts.contains_key(post) || self.top.iter().flatten().any(|p| p == post)
    }
}
