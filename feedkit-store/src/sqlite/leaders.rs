//! The leading posts, kept in memory, so that a list of the top posts need not read all posts.
//!
//! Only the names are kept. The counts are read from the tables, in the reader's own transaction. A
//! list is exact: a post that is neither among the names nor has changed since they were found
//! ranks below the last of them (the *floor*). If a part of an answer does not rank above the
//! floor, all posts are read again. The names are kept while somebody reads lists, so that commits
//! without readers are not slowed down.

use feedkit_core::PostId;
use feedkit_core::queries::RankedPost;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;

use super::failure::Sql;
use super::ranking::{LikedPost, Order};
use super::totals::Tables;

/// How many names to keep: the longest list that is often asked for, and as many again that may
/// fall.
const KEPT: usize = 256;

/// Maximum number of changed posts to remember without a reader. After that, the names are dropped.
const MOST_CHANGED: usize = 20_000;

/// The number of a commit in this process.
pub(super) type Commit = u64;

/// The lists of leading posts by the totals in some tables.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    likes: Kept,
    trending: Kept,
}

impl Leaders {
    /// Notes the posts whose likes change in the transaction that becomes `commit`. It must be
    /// called before the commit. The posts of a transaction that fails do no harm.
    pub(super) fn changed<'p>(&self, posts: impl Iterator<Item = &'p PostId> + Clone, commit: Commit) {
        self.likes.changed(posts.clone(), commit);
        self.trending.changed(posts, commit);
    }

    /// Notes that any post may change in the transaction that becomes `commit`.
    pub(super) fn all_changed(&self, commit: Commit) {
        self.likes.lock().stop(commit);
        self.trending.lock().stop(commit);
    }

    /// The first `limit` posts in some order.
    ///
    /// `done` is the newest commit that had certainly ended before `connection` began its
    /// transaction. The transaction must not have read anything yet.
    pub(super) fn first(
        &self,
        connection: &Connection,
        tables: Tables,
        order: &Order,
        limit: usize,
        done: Commit,
    ) -> Sql<Vec<RankedPost>> {
        let kept = match order {
            Order::Likes => &self.likes,
            Order::Trending { .. } => &self.trending,
        };
        let mut first = kept.first(connection, tables, order, limit, done)?;
        first.truncate(limit);
        Ok(first.into_iter().map(|standing| order.ranked(standing)).collect())
    }
}

/// One list.
#[derive(Debug, Default)]
struct Kept(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// Whether changes are noted.
    following: bool,
    /// The newest commit whose changes were not noted. Names found without it are of no use later.
    missed: Commit,
    /// `None` until a reader has read all posts.
    leading: Option<Leading>,
    /// The posts that have changed since, with the last commit that changed them.
    changed: HashMap<PostId, Commit>,
    /// Changes whenever the names are replaced. A reader that began with older names does not store
    /// its own.
    version: u64,
}

#[derive(Debug, Clone)]
struct Leading {
    posts: Vec<PostId>,
    /// No other post ranked above it. `None` if there were no others.
    floor: Option<LikedPost>,
}

impl Kept {
    fn first(
        &self,
        connection: &Connection,
        tables: Tables,
        order: &Order,
        limit: usize,
        done: Commit,
    ) -> Sql<Vec<LikedPost>> {
        let (version, leading, changed) = self.begin(|| tables.pin(connection))?;
        if let Some(Leading { mut posts, floor }) = leading {
            posts.extend(changed);
            // Neighbors are in one page. A post may be there twice.
            posts.sort_unstable();
            posts.dedup();
            let mut standings = tables.standings(connection, posts)?;
            order.sort(&mut standings);
            let above =
                |floor| standings.get(limit.max(1) - 1).is_some_and(|last| order.is_above(last, floor));
            if floor.as_ref().is_none_or(above) {
                // The posts that are left out here, and those that were left out before, rank below
                // the higher of the two.
                let dropped = standings.get(KEPT - 1).filter(|_| standings.len() > KEPT);
                let floor = match (dropped, floor) {
                    (Some(last), Some(floor)) if order.precedes(&floor, last) => Some(floor),
                    (Some(last), _) => Some(last.clone()),
                    (None, floor) => floor,
                };
                self.keep(version, done, &standings, floor);
                return Ok(standings);
            }
        }
        let standings = tables.first(connection, order, limit.max(KEPT))?;
        let floor = standings.get(KEPT - 1).cloned();
        self.keep(version, done, &standings, floor);
        Ok(standings)
    }

    fn changed<'p>(&self, posts: impl Iterator<Item = &'p PostId>, commit: Commit) {
        let mut names = self.lock();
        if !names.following {
            names.missed = commit;
            return;
        }
        for post in posts {
            match names.changed.get_mut(post) {
                Some(last) => *last = commit,
                None => drop(names.changed.insert(post.clone(), commit)),
            }
        }
        if names.changed.len() > MOST_CHANGED {
            names.stop(commit);
        }
    }

    /// `pin` fixes what the reader sees. It runs under the lock, so that the names come from an
    /// earlier state, and all changes between the two states have been noted.
    fn begin(&self, pin: impl FnOnce() -> Sql<()>) -> Sql<(u64, Option<Leading>, Vec<PostId>)> {
        let mut names = self.lock();
        pin()?;
        names.following = true;
        let changed = names.leading.as_ref().map(|_| names.changed.keys().cloned().collect());
        Ok((names.version, names.leading.clone(), changed.unwrap_or_default()))
    }

    fn keep(&self, version: u64, done: Commit, standings: &[LikedPost], floor: Option<LikedPost>) {
        let mut names = self.lock();
        if names.version != version || done < names.missed {
            return;
        }
        names.version += 1;
        let posts = standings.iter().take(KEPT).map(|standing| standing.post.clone()).collect();
        names.leading = Some(Leading { posts, floor });
        // Later commits are not, or not certainly, in what was read.
        names.changed.retain(|_, commit| *commit > done);
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock()
    }
}

impl Names {
    /// Forgets everything, and misses `commit`.
    fn stop(&mut self, commit: Commit) {
        *self = Names { missed: commit, version: self.version + 1, ..Names::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use feedkit_core::Timestamp;
    use feedkit_core::trending::Trending;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rusqlite::params;

    use super::*;
    use crate::sqlite::totals::HISTORY;

    const POSTS: u64 = 2_000;
    const NOW: i64 = 1_795_500_000_000;

    fn open(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection
    }

    /// Commits `count` transactions of random likes and unlikes, half of them on few posts. Some
    /// are rolled back.
    fn write(path: &Path, leaders: &Leaders, commits: &AtomicU64, count: u64, seed: u64) {
        let (connection, decay) = (open(path), Trending::default());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..count {
            let time = Timestamp::from_millis(NOW + i64::try_from(round).unwrap() * 60_000);
            let mut posts = Vec::new();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            for _ in 0..rng.random_range(1..40) {
                let number = (rng.random::<f64>().powi(3) * POSTS as f64) as u64;
                let (by, weight) = (if rng.random_ratio(2, 5) { -1 } else { 1 }, decay.weight(time));
                let post = PostId::new(format!("p{number}")).unwrap();
                let score = weight.value * f64::from(by);
                let values = params![post.as_str(), "like", by, weight.generation, score];
                connection.execute(&HISTORY.add(), values).unwrap();
                posts.push(post);
            }
            leaders.changed(posts.iter(), commits.load(Ordering::SeqCst) + 1);
            if rng.random_ratio(1, 10) {
                connection.execute_batch("ROLLBACK").unwrap();
            } else {
                connection.execute_batch("COMMIT").unwrap();
                commits.fetch_add(1, Ordering::SeqCst);
            }
            if rng.random_ratio(1, 400) {
                leaders.all_changed(commits.load(Ordering::SeqCst) + 1);
            }
        }
    }

    /// Reads lists until `stop`, compares each with the list from all posts in the same
    /// transaction, and returns how many it read.
    fn read(path: &Path, leaders: &Leaders, commits: &AtomicU64, stop: &AtomicBool, seed: u64) -> u64 {
        let connection = open(path);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for lists in 0.. {
            if stop.load(Ordering::SeqCst) {
                return lists;
            }
            let now = Timestamp::from_millis(NOW + rng.random_range(0..100_000_000));
            let order = match rng.random() {
                true => Order::Likes,
                false => Order::Trending { decay: Trending::default(), now },
            };
            let limit = [0, 1, 10, 100, 250, 300][rng.random_range(0..6)];
            let done = commits.load(Ordering::SeqCst);
            let transaction = connection.unchecked_transaction().unwrap();
            let first = leaders.first(&connection, HISTORY, &order, limit, done).unwrap();
            let all = HISTORY.ranked(&connection, &order, limit).unwrap();
            drop(transaction);
            assert_eq!(first, all, "{order:?}, {limit}");
        }
        unreachable!()
    }

    #[test]
    fn lists_are_those_of_all_posts_whatever_is_committed_beside() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let connection = open(&path);
        connection.execute_batch(include_str!("schema_1.sql")).unwrap();
        let (leaders, commits, stop) = (Leaders::default(), AtomicU64::new(0), AtomicBool::new(false));
        let (path, leaders, commits, stop) = (&path, &leaders, &commits, &stop);
        std::thread::scope(|scope| {
            let readers: Vec<_> =
                (1..=2).map(|n| scope.spawn(move || read(path, leaders, commits, stop, seed + n))).collect();
            let work = std::panic::AssertUnwindSafe(|| write(path, leaders, commits, 2_000, seed));
            let written = std::panic::catch_unwind(work);
            stop.store(true, Ordering::SeqCst);
            for reader in readers {
                assert!(reader.join().unwrap() > 0);
            }
            written.unwrap();
        });
    }

    #[test]
    fn without_readers_nothing_is_kept() {
        let leaders = Leaders::default();
        let post = |n: usize| PostId::new(format!("p{n}")).unwrap();
        leaders.changed([post(1)].iter(), 1);
        assert_eq!(leaders.likes.lock().changed.len(), 0);
        leaders.likes.begin(|| Ok(())).unwrap();
        let posts: Vec<_> = (0..MOST_CHANGED).map(post).collect();
        leaders.changed(posts.iter(), 2);
        assert_eq!(leaders.likes.lock().changed.len(), MOST_CHANGED);
        leaders.changed([post(MOST_CHANGED)].iter(), 3);
        assert_eq!(leaders.likes.lock().changed.len(), 0);
        leaders.changed([post(1)].iter(), 4);
        assert_eq!(leaders.likes.lock().changed.len(), 0);
    }
}
