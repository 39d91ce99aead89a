//! Asks for the counts that anybody listens to, and hands out what changed.
//!
//! Counts are no notifications: they have no cursor, and of each post only the latest waits to be sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::frame::Frame;
use super::hub::Hub;
use super::outbox::Outbox;
use super::registry::ClientId;
use feedkit_core::pipeline::Backoff;
use feedkit_core::queries::PostView;
use feedkit_core::{Error, PostId, Result};

/// Posts of the channel `top`.
const TOP: usize = 10;

/// Posts asked for at once.
const CHUNK: usize = 1000;

/// Who listens to whose counts, and what they were last.
#[derive(Debug, Default)]
pub(super) struct Counts {
    board: Mutex<Board>,
    /// Somebody listens to what was never asked for.
    wanted: Notify,
}

type Listeners = HashMap<ClientId, Arc<Outbox>>;

#[derive(Debug, Default)]
struct Board {
    posts: HashMap<PostId, Listeners>,
    top_listeners: Listeners,
    top: Option<Vec<PostId>>,
    /// Of the posts listened to and those in `top`.
    known: HashMap<PostId, (BTreeMap<String, i64>, Arc<Frame>)>,
    /// Posts that somebody waits for.
    fresh: HashSet<PostId>,
}

impl Counts {
    /// From now on `client` is told the counts of `channel`, at first as they are.
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

    /// From now on it is not.
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

    fn board(&self) -> MutexGuard<'_, Board> {
        // Every change is whole before anything can panic.
        self.board.lock()
    }

    /// What is to be asked for now: the posts, and whether the top too. In between rounds only what somebody waits
    /// for.
    fn ask(&self, whole_round: bool) -> (Vec<PostId>, bool) {
        let board = self.board();
        let of_top = !board.top_listeners.is_empty();
        match whole_round {
            true => (board.posts.keys().cloned().collect(), of_top),
            false => (board.fresh.iter().cloned().collect(), of_top && board.top.is_none()),
        }
    }

    fn is_idle(&self) -> bool {
        let board = self.board();
        board.posts.is_empty() && board.top_listeners.is_empty()
    }
}

impl Board {
    /// Hands out what changed.
    fn take(&mut self, views: Vec<PostView>, top: Option<Vec<PostId>>) {
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

    /// Forgets those of `posts` that nobody listens to any more: they would be old when somebody does.
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

/// Asks for counts, again and again while anybody listens, until `shutdown`.
pub(super) async fn follow(hub: &Hub, shutdown: &CancellationToken) {
    let asking = async {
        let mut waits = Backoff { first: hub.settings.live.counts_every, ..Backoff::default() }.waits();
        let mut next_round = Instant::now();
        loop {
            let whole_round = tokio::select! {
                () = sleep_until(next_round), if !hub.counts.is_idle() => true,
                () = hub.counts.wanted.notified() => false,
            };
            let (posts, of_top) = hub.counts.ask(whole_round);
            let pause = match ask(hub, posts, of_top).await {
                Ok(()) => {
                    waits.reset();
                    hub.counts_trouble(None);
                    hub.settings.live.counts_every
                }
                Err(error) => {
                    tracing::debug!(%error, "counts cannot be read; trying again");
                    hub.counts_trouble(Some(error.to_string()));
                    waits.next_wait()
                }
            };
            if whole_round {
                next_round = Instant::now() + pause;
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = asking => {}
    }
}

async fn ask(hub: &Hub, mut posts: Vec<PostId>, of_top: bool) -> Result<()> {
    if of_top {
        let top = within(hub, top(hub)).await?;
        let views = within(hub, views(hub, &top)).await?;
        posts.retain(|post| !top.contains(post));
        hub.counts.board().take(views, Some(top));
    }
    for chunk in posts.chunks(CHUNK) {
        let views = within(hub, views(hub, chunk)).await?;
        hub.counts.board().take(views, None);
    }
    Ok(())
}

async fn within<T>(hub: &Hub, answer: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::retriable("no answer in time");
    timeout(hub.settings.answer_timeout, answer).await.map_err(late)?
}

async fn top(hub: &Hub) -> Result<Vec<PostId>> {
    let ranked = match &hub.parts.counters {
        Some(counters) => counters.top(TOP).await?,
        None => hub.parts.queries.top(None, TOP).await?,
    };
    Ok(ranked.into_iter().map(|ranked| ranked.post_id).collect())
}

async fn views(hub: &Hub, posts: &[PostId]) -> Result<Vec<PostView>> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let Some(counters) = &hub.parts.counters else {
        let mut views = Vec::with_capacity(posts.len());
        for post in posts {
            let view = hub.parts.queries.post(post).await?;
            views.push(view.unwrap_or_else(|| PostView::new(post.clone(), None, [])));
        }
        return Ok(views);
    };
    counters.posts(posts).await
}
