//! The single-threaded reference model.

mod compare;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::codec::{Codec, Place};
use crate::effect::{Effect, LikePolicy};
use crate::history::CommitCounts;
use crate::source::Record;
use crate::{Event, EventId, EventKind, Offset, Partition, PostId, Timestamp, UserId};

/// What a log's records come to, worked out one at a time in the plainest way.
///
/// Partitions may be fed in any order, each from its beginning in the order of its offsets. Where the outcome
/// depends on which partition was committed first (who of two users in two partitions published a post), the
/// model keeps all that could be: see [`ModelPost::authors`].
pub struct Model {
    codec: Box<dyn Codec>,
    log: u128,
    policy: LikePolicy,
    known: HashSet<(EventId, UserId)>,
    /// What became of the records.
    pub counts: CommitCounts,
    /// Posts that an effect named.
    pub posts: BTreeMap<PostId, ModelPost>,
    /// Likes that stand: who likes a post.
    pub likes: BTreeMap<PostId, BTreeSet<UserId>>,
    /// Records that are no events.
    pub rejected: BTreeSet<(Partition, Offset)>,
    /// Effects by partition, in the order of offsets. The effects of kind `post` are those of the order in which
    /// the model was fed.
    pub effects: BTreeMap<Partition, Vec<Effect>>,
    /// How far each partition was fed.
    pub positions: crate::Positions,
}

/// What the model knows of one post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelPost {
    /// Counts by kind.
    pub counts: BTreeMap<String, i64>,
    /// Net counts by UTC hour and kind.
    pub hours: BTreeMap<Timestamp, BTreeMap<String, i64>>,
    /// Who may be the author: the first of each partition to publish the post.
    pub authors: BTreeMap<Partition, UserId>,
    /// Comments by time, id and user, with their text.
    pub comments: BTreeMap<(Timestamp, EventId, UserId), Option<String>>,
}

impl Model {
    /// A model of what is read from log `log` with `codec`.
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

    /// Counts likes as `policy` says.
    pub fn with_like_policy(mut self, policy: LikePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Takes the next record of a partition in.
    ///
    /// # Panics
    ///
    /// When the record lies before one that was fed.
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

    /// All effects, over all partitions.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.effects.values().flatten()
    }

    /// Likes that stand, by post: most likes first, equal ones by the post's id; posts with none are left out.
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
