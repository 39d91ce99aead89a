//! Effects: which events of a batch change something.

use hashbrown::HashSet;

use crate::{Event, EventId, EventKind, Offset, PostId, Timestamp, UserId};

/// An event that changed something, such as a comment, a first post, or a like by a user who did
/// not like the post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The offset of its record. The effects of an entry are in this order.
    pub offset: Offset,
    /// The user who acted.
    pub user: UserId,
    /// The post.
    pub post: PostId,
    /// The kind of action. [`EventKind::delta`] says which counter changes.
    pub kind: EventKind,
    /// When it happened.
    pub time: Timestamp,
}

/// An event and the offset of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The record's offset.
    pub offset: Offset,
    /// The event.
    pub event: Event,
}

impl LoggedEvent {
    /// The effect of this event, if it has one.
    pub fn effect(&self) -> Effect {
        let Event { user, post, kind, time, .. } = &self.event;
        Effect {
            offset: self.offset,
            user: user.clone(),
            post: post.clone(),
            kind: kind.clone(),
            time: *time,
        }
    }
}

/// Decides whether a like counts once per user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LikePolicy {
    /// Several likes of one post by one user count once.
    #[default]
    Unique,
    /// Each `like` and each `unlike` counts.
    Every,
}

/// A batch, arranged so that each stored state it depends on is read once.
///
/// A batch may contain `like, unlike, like` of one user and one post. The fold compares the batch
/// with the state before it. The result is the same as for one event at a time, with one read and
/// at most one write per pair.
#[derive(Debug)]
pub struct Fold<'a> {
    events: &'a [LoggedEvent],
    /// The indexes of likes and unlikes, sorted by post, user and order of arrival.
    likes: Vec<u32>,
    /// The indexes of `post` events, sorted by post and order of arrival.
    posts: Vec<u32>,
    /// For each event, whether it has an effect. Initially it is true if the effect does not depend
    /// on stored state.
    effective: Vec<bool>,
}

/// All likes and unlikes of one user and one post in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The post.
    pub post: &'a PostId,
    /// The user.
    pub user: &'a UserId,
    /// The time of the last one.
    pub time: Timestamp,
    /// Whether the user likes the post after the batch.
    pub liked_after: bool,
}

impl<'a> Fold<'a> {
    /// Arranges `events`, which must not contain two events with the same id and user.
    pub fn new(events: &'a [LoggedEvent], policy: LikePolicy) -> Self {
        let (mut likes, mut posts) = (Vec::with_capacity(events.len()), Vec::new());
        let mut effective = vec![true; events.len()];
        for (i, logged) in events.iter().enumerate() {
            let list = match logged.event.kind {
                EventKind::Like | EventKind::Unlike if policy == LikePolicy::Unique => &mut likes,
                EventKind::Post => &mut posts,
                _ => continue,
            };
            list.push(u32::try_from(i).expect("a batch has fewer than 2^32 events"));
            effective[i] = false;
        }
        let event = |i: u32| &events[i as usize].event;
        likes.sort_unstable_by(|&a, &b| {
            let (x, y) = (event(a), event(b));
            x.post.cmp(&y.post).then_with(|| x.user.cmp(&y.user)).then(a.cmp(&b))
        });
        posts.sort_unstable_by(|&a, &b| event(a).post.cmp(&event(b).post).then(a.cmp(&b)));
        Fold { events, likes, posts, effective }
    }

    /// Computes for each event whether it has an effect.
    ///
    /// The fold calls `liked_before` once for each pair, ordered by post and user. It returns
    /// whether the store contained the pair's like before the batch, and may write the pair's new
    /// state. The fold calls `first_post` once for each post that the batch publishes, in order,
    /// with the earliest such event. It returns whether the post had no author before.
    pub fn resolve<E>(
        mut self,
        mut liked_before: impl FnMut(Pair<'a>) -> Result<bool, E>,
        mut first_post: impl FnMut(&'a LoggedEvent) -> Result<bool, E>,
    ) -> Result<Vec<bool>, E> {
        let events = self.events;
        let event = |i: u32| &events[i as usize].event;
        let same_pair =
            |a: &u32, b: &u32| event(*a).user == event(*b).user && event(*a).post == event(*b).post;
        for run in self.likes.chunk_by(same_pair) {
            let last = event(run[run.len() - 1]);
            let liked_after = last.kind == EventKind::Like;
            let pair = Pair { post: &last.post, user: &last.user, time: last.time, liked_after };
            let mut liked = liked_before(pair)?;
            for &i in run {
                let now = event(i).kind == EventKind::Like;
                self.effective[i as usize] = now != liked;
                liked = now;
            }
        }
        for run in self.posts.chunk_by(|a, b| event(*a).post == event(*b).post) {
            let first = run[0] as usize;
            self.effective[first] = first_post(&events[first])?;
        }
        Ok(self.effective)
    }
}

/// Removes each event that has the same id and user as an earlier one. Returns how many it removed.
pub fn remove_repeats(events: &mut Vec<LoggedEvent>) -> usize {
    let before = events.len();
    let mut keep = Vec::with_capacity(before);
    let mut seen: HashSet<(EventId, &UserId)> = HashSet::with_capacity(before);
    for logged in events.iter() {
        keep.push(seen.insert((logged.event.id, &logged.event.user)));
    }
    drop(seen);
    let mut kept = keep.into_iter();
    events.retain(|_| kept.next().unwrap_or(true));
    before - events.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: u64, user: &str, post: &str, kind: &str) -> LoggedEvent {
        let time = Timestamp::from_millis(1_000 + offset as i64);
        LoggedEvent {
            offset,
            event: Event {
                id: EventId::derived(time, u128::from(offset)),
                user: UserId::new(user).unwrap(),
                post: PostId::new(post).unwrap(),
                kind: EventKind::new(kind).unwrap(),
                time,
                received_at: None,
                text: None,
                attributes: Default::default(),
            },
        }
    }

    #[test]
    fn folds_chains_of_one_pair() {
        let events: Vec<_> = [
            ("u", "p", "like"),
            ("u", "p", "unlike"),
            ("v", "p", "unlike"),
            ("u", "p", "like"),
            ("u", "p", "like"),
            ("u", "p", "comment"),
            ("u", "p", "post"),
            ("v", "p", "post"),
        ]
        .iter()
        .enumerate()
        .map(|(i, (u, p, k))| event(i as u64, u, p, k))
        .collect();
        let resolve = |liked: bool| {
            let mut asked = Vec::new();
            let effects = Fold::new(&events, LikePolicy::Unique)
                .resolve(
                    |pair| {
                        asked.push((pair.user.to_string(), pair.liked_after));
                        Ok::<_, ()>(liked)
                    },
                    |first| Ok(first.offset == 6),
                )
                .unwrap();
            assert_eq!(asked, [("u".to_owned(), true), ("v".to_owned(), false)]);
            effects
        };
        assert_eq!(resolve(false), [true, true, false, true, false, true, true, false]);
        assert_eq!(resolve(true), [false, true, true, true, false, true, true, false]);
        let every = Fold::new(&events, LikePolicy::Every);
        assert_eq!(every.resolve(|_| Err(()), |_| Ok(false)).unwrap().iter().filter(|e| **e).count(), 6);
    }

    #[test]
    fn repeats_go_by_id_and_user() {
        let mut events =
            vec![event(1, "u", "p", "like"), event(2, "u", "p", "like"), event(3, "v", "p", "like")];
        events[1].event.id = events[0].event.id;
        events[2].event.id = events[0].event.id;
        assert_eq!(remove_repeats(&mut events), 1);
        assert_eq!(events.iter().map(|e| e.offset).collect::<Vec<_>>(), [1, 3]);
    }
}
