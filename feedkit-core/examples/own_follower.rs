//! Your own follower: it finds who receives the most likes, and keeps this in a file with its
//! position.
//!
//! `cargo run -p feedkit-core --features testkit --example own_follower`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::follower::{Follower, FollowerPosition};
use feedkit_core::history::History;
use feedkit_core::journal::JournalEntry;
use feedkit_core::memory::{MemoryHistory, MemoryLog};
use feedkit_core::sink::NewRecord;
use feedkit_core::testkit::conformance::{self, FollowerHarness};
use feedkit_core::{Error, EventSink, Offset, Partition, Pipeline, Positions, Result, SystemClock};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

// [state]
/// Likes received, by author.
#[derive(Clone)]
struct Leaderboard(Arc<Mutex<Board>>);

struct Board {
    path: PathBuf,
    state: State,
    /// Keeps a second process out, because it would not see the state in this one's memory.
    _lock: File,
}

/// The content of the file. It always contains the position together with the changes.
#[derive(Clone, Default, Serialize, Deserialize)]
struct State {
    positions: Positions,
    posts: BTreeMap<String, Post>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Post {
    author: Option<String>,
    counts: BTreeMap<String, i64>,
}

// [/state]

// [follower]
#[async_trait]
impl Follower for Leaderboard {
    fn name(&self) -> &str {
        "leaderboard"
    }

    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        self.with(move |board| Ok(FollowerPosition::At(board.state.positions.of(partition)))).await
    }

    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let entries = entries.to_vec();
        self.with(move |board| {
            let mut next = board.state.clone();
            for entry in &entries {
                next.take(partition, entry)?;
            }
            board.keep(next)?;
            Ok(board.state.positions.of(partition))
        })
        .await
    }

    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        let mut snapshot = history.snapshot().await?;
        let mut next = State { positions: snapshot.positions().clone(), ..State::default() };
        loop {
            let totals = snapshot.next(1000).await?;
            if totals.is_empty() {
                return self.with(|board| board.keep(next)).await;
            }
            next.posts.extend(totals.into_iter().map(|t| {
                let author = t.author.map(|a| a.to_string());
                (t.post.to_string(), Post { author, counts: t.counts.into_iter().collect() })
            }));
        }
    }
}

impl State {
    fn take(&mut self, partition: Partition, entry: &JournalEntry) -> Result<()> {
        let at = self.positions.of(partition);
        if entry.from > at {
            return Err(Error::gap(format!("stands at {at}, the entry begins at {}", entry.from)));
        }
        // An entry, or part of one, may have been applied before.
        for effect in entry.effects.iter().filter(|effect| effect.offset >= at) {
            let post = self.posts.entry(effect.post.to_string()).or_default();
            match effect.kind.delta() {
                Some((kind, by)) => *post.counts.entry(kind.to_owned()).or_default() += by,
                None => post.author = Some(effect.user.to_string()),
            }
        }
        self.positions.advance(partition, entry.to);
        Ok(())
    }
}

// [/follower]

impl Leaderboard {
    /// Runs `work` on a blocking thread. It finishes even if the caller is dropped, and holds the
    /// lock until then.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Board) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let board = Arc::clone(&self.0);
        let locked = move || work(&mut board.lock());
        tokio::task::spawn_blocking(locked).await.map_err(|e| Error::uncertain(e.to_string()))?
    }
}

// [keep]
impl Board {
    /// Replaces the file in one step, and then the state in memory.
    fn keep(&mut self, next: State) -> Result<()> {
        let bytes = serde_json::to_vec(&next).map_err(|e| Error::fatal(e.to_string()))?;
        let failed = |e: std::io::Error| Error::retriable(format!("{}: {e}", self.path.display()));
        replace(&self.path, &bytes).map_err(failed)?;
        self.state = next;
        Ok(())
    }
}

/// Replaces a file so that after a crash, it is either the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
// [/keep]

impl Leaderboard {
    fn open(path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::fatal(format!("{}: {e}", path.display()));
        let lock = File::create(path.with_extension("lock")).map_err(failed)?;
        lock.try_lock().map_err(|e| failed(e.into()))?;
        let state = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(e) => return Err(failed(e)),
        };
        Ok(Leaderboard(Arc::new(Mutex::new(Board { path: path.to_owned(), state, _lock: lock }))))
    }

    fn state(&self) -> State {
        self.0.lock().state.clone()
    }

    fn likes_by_author(&self) -> BTreeMap<String, i64> {
        let mut likes = BTreeMap::new();
        for Post { author, counts } in self.state().posts.into_values() {
            if let Some(author) = author {
                *likes.entry(author).or_default() += counts.get("like").unwrap_or(&0);
            }
        }
        likes
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    conformance::follower(&Boards(tempfile::tempdir()?)).await;
    println!("keeps the contract");

    let dir = tempfile::tempdir()?;
    let path = dir.path().join("board.json");
    let (log, history) = (MemoryLog::new(4, SystemClock), Arc::new(MemoryHistory::new()));
    for (round, users) in [["u1", "u2"], ["u3", "u4"]].into_iter().enumerate() {
        // In the second round, the file exists, and the board continues from its position.
        let board = Leaderboard::open(&path)?;
        let pipeline =
            Pipeline::builder(log.reader("feedkit"), history.clone()).follower(board.clone()).build();
        let (handle, shutdown) = (pipeline.handle(), CancellationToken::new());
        let running = tokio::spawn(pipeline.run(shutdown.clone()));
        let event = |user: &str, kind| format!(r#"{{"userId":"{user}","postId":"p1","type":"{kind}"}}"#);
        let publish = NewRecord::keyed("ann", event("ann", "post").into());
        let likes = users.map(|user| NewRecord::keyed(user, event(user, "like").into()));
        let outcomes = log.send([publish].into_iter().chain(likes).collect()).await;
        outcomes.into_iter().collect::<Result<Vec<_>>>()?;
        handle.reached(&log.ends()).await?;
        println!("{:?}", board.likes_by_author());
        assert_eq!(board.likes_by_author()["ann"], 2 * (round as i64 + 1));
        shutdown.cancel();
        running.await??;
    }
    Ok(())
}

/// New boards for the conformance suite.
struct Boards(tempfile::TempDir);

#[async_trait]
impl FollowerHarness for Boards {
    type Follower = Leaderboard;

    async fn fresh(&self) -> Leaderboard {
        let file = tempfile::NamedTempFile::new_in(&self.0).expect("a file can be made");
        Leaderboard::open(&file.path().with_extension("json")).expect("a new file can be opened")
    }

    async fn counts(&self, board: &Leaderboard) -> BTreeMap<(String, String), i64> {
        let of = |(post, p): (String, Post)| {
            p.counts.into_iter().map(|(kind, n)| ((post.clone(), kind), n)).collect::<Vec<_>>()
        };
        board.state().posts.into_iter().flat_map(of).filter(|(_, n)| *n != 0).collect()
    }
}
