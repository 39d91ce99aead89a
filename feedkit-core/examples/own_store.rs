//! Your own counter store, over a key-value store that can write a batch in one step. The
//! conformance suite checks whether it keeps the contract.
//!
//! `cargo run -p feedkit-core --features testkit --example own_store`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;

use async_trait::async_trait;
use feedkit_core::counters::{ChunkOutcome, CounterChunk, Fence, RebuildToken};
use feedkit_core::history::PostTotals;
use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::testkit::conformance;
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{CounterStore, Error, Partition, Positions, PostId, Result, Timestamp, UserId};
use parking_lot::Mutex;

/// Represents the database: ordered keys, and batches that are written as a whole or not at all.
/// The lock makes reading the fence and writing the batch one step. A database uses a transaction
/// or a script instead.
#[derive(Default)]
struct KeyValue(Mutex<BTreeMap<Key, Value>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// The number of rebuilds so far, whether one is running, and the incarnation of the history.
    State,
    Fence(Partition),
    Post(PostId),
}

#[derive(Debug, Clone)]
enum Value {
    State(State),
    Fence(Fence),
    Post(Counts),
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    rebuilds: u64,
    rebuilding: bool,
    incarnation: Option<u128>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    author: Option<UserId>,
    by_kind: BTreeMap<String, i64>,
    score: Score,
}

#[derive(Default)]
struct KeyValueCounters {
    db: KeyValue,
    trending: Trending,
}

#[async_trait]
impl feedkit_core::Counts for KeyValueCounters {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        self.db.read(|db| {
            let view = |post: &PostId| {
                let counts = counts(db.get(&Key::Post(post.clone())));
                PostView::new(post.clone(), counts.author, counts.by_kind)
            };
            posts.iter().map(view).collect()
        })
    }

    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        self.db.read(|db| ranked(db, limit, |likes, _| likes as f64))
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.db.read(|db| ranked(db, limit, |_, score| self.trending.at(score, now)))
    }
}

#[async_trait]
impl CounterStore for KeyValueCounters {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        self.db.with(|db| Ok(fence(db, partition)))
    }

    // [apply]
    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        self.db.with(|db| {
            let (state, stored) = (state(db), fence(db, chunk.partition));
            let wanted = stored.map_or((0, 0), |fence| (fence.position, fence.chunk));
            let given = (chunk.fence.position, chunk.fence.chunk);
            let foreign = state.incarnation.is_some_and(|known| known != chunk.fence.incarnation);
            if state.rebuilding || foreign || given > wanted {
                return Ok(ChunkOutcome::Gap(stored));
            }
            if given < wanted {
                return Ok(ChunkOutcome::Skipped);
            }
            // One batch: the counters, and the fence after them.
            let state = State { incarnation: Some(chunk.next.incarnation), ..state };
            let fence = (Key::Fence(chunk.partition), Value::Fence(chunk.next));
            let mut batch = BTreeMap::from([fence, (Key::State, Value::State(state))]);
            for delta in &chunk.deltas {
                let key = Key::Post(delta.post.clone());
                let counts = counts(batch.get(&key).or_else(|| db.get(&key)));
                batch.insert(key, Value::Post(counts.plus(delta)));
            }
            db.append(&mut batch);
            Ok(ChunkOutcome::Applied)
        })
    }
    // [/apply]

    // [rebuild]
    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        self.db.with(|db| {
            let rebuilds = state(db).rebuilds + 1;
            let state = State { rebuilds, rebuilding: true, incarnation: None };
            *db = BTreeMap::from([(Key::State, Value::State(state))]);
            Ok(RebuildToken(rebuilds))
        })
    }

    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        self.db.rebuild(token, |db| {
            db.extend(totals.iter().map(|t| {
                let by_kind = t.counts.iter().cloned().collect();
                let counts = Counts { author: t.author.clone(), by_kind, score: t.score };
                (Key::Post(t.post.clone()), Value::Post(counts))
            }));
        })
    }

    async fn finish_rebuild(&self, token: RebuildToken, at: &Positions, incarnation: u128) -> Result<()> {
        self.db.rebuild(token, |db| {
            db.extend(at.iter().map(|(partition, position)| {
                (Key::Fence(partition), Value::Fence(Fence { position, chunk: 0, incarnation }))
            }));
            let state = State { rebuilds: token.0, rebuilding: false, incarnation: Some(incarnation) };
            db.insert(Key::State, Value::State(state));
        })
    }
    // [/rebuild]
}

impl KeyValue {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Key, Value>) -> T) -> T {
        work(&mut self.0.lock())
    }

    fn read<T>(&self, work: impl FnOnce(&BTreeMap<Key, Value>) -> T) -> Result<T> {
        self.with(|db| match state(db).rebuilding {
            true => Err(Error::retriable("the counters are being rebuilt")),
            false => Ok(work(db)),
        })
    }

    fn rebuild(&self, token: RebuildToken, work: impl FnOnce(&mut BTreeMap<Key, Value>)) -> Result<()> {
        self.with(|db| match state(db) {
            State { rebuilds, rebuilding: true, .. } if rebuilds == token.0 => {
                work(db);
                Ok(())
            }
            _ => Err(Error::fenced(format!("rebuild {} is over or was begun anew", token.0))),
        })
    }
}

fn state(db: &BTreeMap<Key, Value>) -> State {
    match db.get(&Key::State) {
        Some(Value::State(state)) => *state,
        _ => State::default(),
    }
}

fn fence(db: &BTreeMap<Key, Value>, partition: Partition) -> Option<Fence> {
    match db.get(&Key::Fence(partition)) {
        Some(Value::Fence(fence)) => Some(*fence),
        _ => None,
    }
}

fn counts(value: Option<&Value>) -> Counts {
    match value {
        Some(Value::Post(counts)) => counts.clone(),
        _ => Counts::default(),
    }
}

impl Counts {
    fn plus(mut self, delta: &feedkit_core::counters::CounterDelta) -> Self {
        *self.by_kind.entry(delta.kind.to_string()).or_default() += delta.by;
        self.score.add(delta.score, 1.0);
        self.author = delta.author.clone().or(self.author);
        self
    }
}

/// Posts by score, the highest first, equal ones by their id. Posts without likes are left out.
fn ranked(db: &BTreeMap<Key, Value>, limit: usize, score: impl Fn(i64, Score) -> f64) -> Vec<RankedPost> {
    let posts = db.iter().filter_map(|(key, value)| match (key, value) {
        (Key::Post(post), Value::Post(counts)) => {
            let likes = counts.by_kind.get("like").copied().filter(|likes| *likes > 0)?;
            Some(RankedPost { post_id: post.clone(), likes, score: score(likes, counts.score) })
        }
        _ => None,
    });
    let mut posts: Vec<_> = posts.collect();
    posts.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.post_id.cmp(&b.post_id)));
    posts.truncate(limit);
    posts
}

// [check]
#[tokio::main(flavor = "current_thread")]
async fn main() {
    conformance::counts(async || KeyValueCounters::default()).await;
    conformance::counters(async || KeyValueCounters::default()).await;
    println!("KeyValueCounters keeps the contracts of Counts and CounterStore");
}
// [/check]
