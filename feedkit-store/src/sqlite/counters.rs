//! Counters in `state.db` that follow a history in another store.

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::counters::{ChunkOutcome, CounterChunk, CounterDelta, CounterStore, Fence, RebuildToken};
use feedkit_core::failpoint::{self, stage};
use feedkit_core::history::PostTotals;
use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::trending::Trending;
use feedkit_core::{Counts, Error, Offset, Partition, Positions, PostId, Result, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::database::Database;
use super::failure::Sql;
use super::ranking::Order;
use super::totals::Tables;

/// The counters' own tables.
const COUNTERS: Tables = Tables { totals: "counter_totals", authors: "counter_authors" };

/// A [`CounterStore`] for a history that is kept elsewhere. Each chunk is one transaction. Chunks
/// that wait at the same time share a sync of the disk.
///
/// A program whose history is in PostgreSQL, or in a store of its own, uses it to count without
/// Redis. A [`SqliteHistory`](super::SqliteHistory) does not need it: it keeps its totals in its
/// own commits, and [`SqliteCounts`](super::SqliteCounts) reads them.
#[derive(Debug, Clone)]
pub struct SqliteCounters {
    state: Arc<Database>,
    trending: Trending,
}

impl SqliteCounters {
    pub(super) fn new(state: Arc<Database>) -> Self {
        SqliteCounters { state, trending: Trending::default() }
    }

    /// Sets how trending scores fade. The scores in the chunks must be made with the same
    /// `trending`.
    pub fn with_trending(mut self, trending: Trending) -> Self {
        self.trending = trending;
        self
    }

    async fn ranked(&self, order: Order, limit: usize) -> Result<Vec<RankedPost>> {
        self.read(move |connection| COUNTERS.ranked(connection, &order, limit)).await
    }

    /// Reads complete counters. Fails while a rebuild runs.
    async fn read<T, F>(&self, read: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        let read = move |connection: &Connection| match Standing::read(connection)?.rebuilding {
            true => Err(Error::retriable("the counters are being rebuilt").into()),
            false => read(connection),
        };
        self.state.read(read).await
    }
}

#[async_trait]
impl Counts for SqliteCounters {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        let posts = posts.to_vec();
        let views = move |connection: &Connection| {
            let view = |post: PostId| {
                let view = COUNTERS.view(connection, post.clone())?;
                Ok(view.unwrap_or_else(|| PostView::new(post, None, [])))
            };
            posts.into_iter().map(view).collect()
        };
        self.read(views).await
    }

    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        self.ranked(Order::Likes, limit).await
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.ranked(Order::Trending { decay: self.trending, now }, limit).await
    }
}

#[async_trait]
impl CounterStore for SqliteCounters {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        let fence = move |connection: &Connection| match Standing::read(connection)? {
            Standing { rebuilding: true, .. } => Ok(None),
            standing => standing.fence(connection, partition),
        };
        self.state.read(fence).await
    }

    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        let chunk = chunk.clone();
        self.state.write(chunk.deltas.len() + 1, move |connection| apply(connection, &chunk)).await
    }

    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        let begin = |connection: &Connection| -> Sql<RebuildToken> {
            connection.execute_batch(
                "DELETE FROM counter_totals; DELETE FROM counter_authors; DELETE FROM counter_fences;",
            )?;
            let token: i64 = connection.query_row(
                "UPDATE counter_state SET token = token + 1, rebuilding = TRUE, incarnation = NULL \
                 RETURNING token",
                [],
                |row| row.get(0),
            )?;
            failpoint::reach(stage::REBUILD);
            Ok(RebuildToken(token as u64))
        };
        self.state.write(1, begin).await
    }

    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        let totals = totals.to_vec();
        let load = move |connection: &Connection| {
            Standing::read(connection)?.check(token)?;
            totals.iter().try_for_each(|post| set(connection, post))
        };
        self.state.write(1, load).await
    }

    async fn finish_rebuild(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()> {
        let positions = positions.clone();
        let finish = move |connection: &Connection| -> Sql<()> {
            Standing::read(connection)?.check(token)?;
            for (partition, position) in positions.iter() {
                set_fence(connection, partition, Fence { position, chunk: 0, incarnation })?;
            }
            connection.execute("UPDATE counter_state SET rebuilding = FALSE", [])?;
            set_incarnation(connection, incarnation)?;
            failpoint::reach(stage::REBUILD);
            Ok(())
        };
        self.state.write(1, finish).await
    }
}

/// Which history's effects are counted, and whether they are complete.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// The history's incarnation. It is unknown before the first chunk or rebuild.
    incarnation: Option<u128>,
    /// The token of the last rebuild that began.
    token: u64,
    rebuilding: bool,
}

impl Standing {
    fn read(connection: &Connection) -> Sql<Standing> {
        let mut select =
            connection.prepare_cached("SELECT incarnation, token, rebuilding FROM counter_state")?;
        Ok(select.query_row([], |row| {
            Ok(Standing {
                incarnation: row.get::<_, Option<[u8; 16]>>(0)?.map(u128::from_be_bytes),
                token: row.get::<_, i64>(1)? as u64,
                rebuilding: row.get(2)?,
            })
        })?)
    }

    fn check(self, token: RebuildToken) -> Result<()> {
        match self.rebuilding && token.0 == self.token {
            true => Ok(()),
            false => Err(Error::fenced(format!("rebuild {} has ended, or another one has begun", token.0))),
        }
    }

    /// The partition's fence. All fences belong to one incarnation.
    fn fence(self, connection: &Connection, partition: Partition) -> Sql<Option<Fence>> {
        let Some(incarnation) = self.incarnation else { return Ok(None) };
        let mut select =
            connection.prepare_cached("SELECT position, chunk FROM counter_fences WHERE partition = ?1")?;
        let fence = select.query_row([partition.0], |row| {
            Ok(Fence { position: row.get::<_, i64>(0)? as Offset, chunk: row.get(1)?, incarnation })
        });
        Ok(fence.optional()?)
    }
}

fn apply(connection: &Connection, chunk: &CounterChunk) -> Sql<ChunkOutcome> {
    let standing = Standing::read(connection)?;
    if standing.rebuilding {
        return Ok(ChunkOutcome::Gap(None));
    }
    let stored = standing.fence(connection, chunk.partition)?;
    if standing.incarnation.is_some_and(|known| known != chunk.fence.incarnation) {
        return Ok(ChunkOutcome::Gap(stored));
    }
    let wanted = stored.map_or((0, 0), |fence| (fence.position, fence.chunk));
    match (chunk.fence.position, chunk.fence.chunk).cmp(&wanted) {
        Ordering::Less => return Ok(ChunkOutcome::Skipped),
        Ordering::Greater => return Ok(ChunkOutcome::Gap(stored)),
        Ordering::Equal => {}
    }
    if standing.incarnation.is_none() {
        set_incarnation(connection, chunk.next.incarnation)?;
    }
    set_fence(connection, chunk.partition, chunk.next)?;
    let mut add = connection.prepare_cached(&COUNTERS.add())?;
    for CounterDelta { post, kind, by, score, author } in &chunk.deltas {
        add.execute(params![post.as_str(), kind.as_str(), by, score.generation, score.value])?;
        if let Some(author) = author {
            set_author(connection, post, author.as_str())?;
        }
    }
    Ok(ChunkOutcome::Applied)
}

fn set_fence(connection: &Connection, partition: Partition, fence: Fence) -> Sql<()> {
    let position = i64::try_from(fence.position).map_err(|_| {
        Error::invalid(format!("partition {partition}: the offset {} is too large", fence.position))
    })?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO counter_fences (partition, position, chunk) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![partition.0, position, fence.chunk])?;
    Ok(())
}

fn set_incarnation(connection: &Connection, incarnation: u128) -> Sql<()> {
    connection
        .execute("UPDATE counter_state SET incarnation = ?1", params![&incarnation.to_be_bytes()[..]])?;
    Ok(())
}

fn set_author(connection: &Connection, post: &PostId, author: &str) -> Sql<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO counter_authors (post, author) VALUES (?1, ?2)")?
        .execute([post.as_str(), author])?;
    Ok(())
}

/// Sets all counts of one post.
fn set(connection: &Connection, totals: &PostTotals) -> Sql<()> {
    let PostTotals { post, author, counts, score } = totals;
    connection.prepare_cached("DELETE FROM counter_totals WHERE post = ?1")?.execute([post.as_str()])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO counter_totals (post, kind, count, generation, score) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (kind, count) in counts {
        let (generation, value) = if kind == "like" { (score.generation, score.value) } else { (0, 0.0) };
        insert.execute(params![post.as_str(), kind, count, generation, value])?;
    }
    match author {
        Some(author) => set_author(connection, post, author.as_str()),
        None => Ok(()),
    }
}
