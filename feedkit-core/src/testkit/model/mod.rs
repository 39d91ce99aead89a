//! The single-threaded reference model.

mod compare;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::codec::{Codec, Place};
use crate::effect::{Effect, LikePolicy};
use crate::history::CommitCounts;
use crate::source::Record;
use crate::{Event, EventId, EventKind, Offset, Partition, PostId, Timestamp, UserId};

/// Computes the expected result of a log's records, one record at a time and in the simplest way.
///
/// Partitions may be fed in any order, each from its beginning in the order of its offsets.
/// Sometimes the result depends on which partition was committed first, for example if two users in
/// two partitions publish the same post. The model then keeps all possible results: see
/// [`ModelPost::authors`].
pub struct Model {
    codec: Box<dyn Codec>,
    log: u128,
    policy: LikePolicy,
    known: HashSet<(EventId, UserId)>,
    /// How many records had which outcome.
    pub counts: CommitCounts,
    /// The posts that an effect named.
    pub posts: BTreeMap<PostId, ModelPost>,
    /// The users who like each post now.
    pub likes: BTreeMap<PostId, BTreeSet<UserId>>,
    /// The records that are not valid events.
    pub rejected: BTreeSet<(Partition, Offset)>,
    /// The effects by partition, in the order of offsets. Which effects of kind `post` there are
    /// depends on the order in which the model was fed.
    pub effects: BTreeMap<Partition, Vec<Effect>>,
    /// The next offset to feed for each partition.
    pub positions: crate::Positions,
}

/// What the model knows about one post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelPost {
    /// Counts by kind.
    pub counts: BTreeMap<String, i64>,
    /// Net counts by UTC hour and kind.
    pub hours: BTreeMap<Timestamp, BTreeMap<String, i64>>,
    /// The possible authors: in each partition, the first user who published the post.
    pub authors: BTreeMap<Partition, UserId>,
    /// Comments by time, id and user, with their text.
    pub comments: BTreeMap<(Timestamp, EventId, UserId), Option<String>>,
}

impl Model {
    /// Creates an empty model. It decodes the records of the log `log` with `codec`.
    pub fn new(codec: impl Codec, log: u128) -> Self {
        Model {
            codec: Box::new(codec),
            log,
            policy: LikePolicy::default(),
            known: HashSet::new(),
            counts: CommitCounts::default(),
            posts: BTreeMap::new(),
            likes: BTreeMap::new(),
            rejected: BTreeSet::new(),
            effects: BTreeMap::new(),
            positions: crate::Positions::new(),
        }
    }

    /// Sets how likes are counted.
    pub fn with_like_policy(mut self, policy: LikePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Adds the next record of a partition.
    ///
    /// # Panics
    ///
    /// Panics if the record lies before one that was fed.
    pub fn feed(&mut self, partition: Partition, record: &Record) {
        assert!(record.offset >= self.positions.of(partition), "records of {partition} are fed in order");
        self.positions.set(partition, record.offset + 1);
        let place = Place { log: self.log, partition };
        let Ok(event) = self.codec.decode(&place, record) else {
            self.counts.rejected += 1;
            self.rejected.insert((partition, record.offset));
            return;
        };
        if !self.known.insert((event.id, event.user.clone())) {
            self.counts.duplicates += 1;
            return;
        }
        self.counts.accepted += 1;
        if self.has_effect(partition, &event) {
            self.count(partition, record.offset, event);
        }
    }

    /// The effects of all partitions.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.effects.values().flatten()
    }

    /// Posts and their current likes. The post with the most likes comes first, and posts with
    /// equal likes are ordered by id. Posts without likes are left out.
    pub fn top(&self) -> Vec<(PostId, i64)> {
        let likes = |post: &ModelPost| post.counts.get("like").copied().unwrap_or(0);
        let mut top: Vec<_> =
            self.posts.iter().map(|(id, p)| (id.clone(), likes(p))).filter(|(_, n)| *n > 0).collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top
    }

    fn has_effect(&mut self, partition: Partition, event: &Event) -> bool {
        let likes = &mut self.likes;
        match event.kind {
            EventKind::Like | EventKind::Unlike if self.policy == LikePolicy::Every => true,
            EventKind::Like => likes.entry(event.post.clone()).or_default().insert(event.user.clone()),
            EventKind::Unlike => likes.get_mut(&event.post).is_some_and(|l| l.remove(&event.user)),
            EventKind::Post => {
                let authors = &mut self.posts.entry(event.post.clone()).or_default().authors;
                let first = authors.is_empty();
                authors.entry(partition).or_insert_with(|| event.user.clone());
                first
            }
            _ => true,
        }
    }

    fn count(&mut self, partition: Partition, offset: Offset, event: Event) {
        self.counts.effects += 1;
        let Event { id, user, post, kind, time, text, .. } = event;
        let known = self.posts.entry(post.clone()).or_default();
        if let Some((name, by)) = kind.delta() {
            *known.counts.entry(name.to_owned()).or_default() += by;
            *known.hours.entry(time.hour()).or_default().entry(name.to_owned()).or_default() += by;
        }
        if kind == EventKind::Comment {
            known.comments.insert((time, id, user.clone()), text);
        }
        self.effects.entry(partition).or_default().push(Effect { offset, user, post, kind, time });
    }
}
