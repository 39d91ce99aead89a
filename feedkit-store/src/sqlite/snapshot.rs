//! Reading all totals of one moment in portions.

use async_trait::async_trait;
use feedkit_core::history::{PostTotals, Snapshot};
use feedkit_core::trending::Score;
use feedkit_core::{Error, Positions, PostId, Result, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use super::connection::HeldReader;
use super::failure::{Sql, damaged};
use super::positions;

/// Holds one read transaction open from beginning to end.
pub(super) struct SqliteSnapshot {
    /// `None` while a read is running, and for ever if that read was dropped.
    reader: Option<HeldReader>,
    positions: Positions,
    after: String,
}

impl SqliteSnapshot {
    pub(super) async fn open(reader: HeldReader) -> Result<Self> {
        let begin = |connection: &Connection| {
            connection.execute_batch("BEGIN")?;
            positions::all(connection)
        };
        let (reader, positions) = reader.start(begin).await.map_err(ended)?;
        Ok(SqliteSnapshot { reader: Some(reader), positions: positions?, after: String::new() })
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn positions(&self) -> &Positions {
        &self.positions
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<PostTotals>> {
        let reader =
            self.reader.take().ok_or_else(|| Error::fatal("the snapshot's last read was dropped"))?;
        let after = self.after.clone();
        let (reader, totals) =
            reader.start(move |connection| read(connection, &after, limit)).await.map_err(ended)?;
        self.reader = Some(reader);
        let totals = totals?;
        if let Some(last) = totals.last() {
            self.after = last.post.as_str().to_owned();
        }
        Ok(totals)
    }
}

fn ended(error: tokio::task::JoinError) -> Error {
    Error::fatal(format!("a read was interrupted: {error}"))
}

fn read(connection: &Connection, after: &str, limit: usize) -> Sql<Vec<PostTotals>> {
    // A post has totals, an author, or both. So read the next posts of each sort, and take the
    // first of both.
    let mut posts = Vec::new();
    for table in ["post_totals", "posts"] {
        let select = format!("SELECT DISTINCT post FROM {table} WHERE post > ?1 ORDER BY post LIMIT ?2");
        let mut select = connection.prepare_cached(&select)?;
        let rows = select.query_map(params![after, limit as i64], |row| row.get::<_, String>(0))?;
        posts.extend(rows.collect::<Result<Vec<_>, _>>()?);
    }
    posts.sort_unstable();
    posts.dedup();
    posts.truncate(limit);
    posts.into_iter().map(|post| one(connection, post)).collect()
}

fn one(connection: &Connection, post: String) -> Sql<PostTotals> {
    let author: Option<String> = connection
        .prepare_cached("SELECT author FROM posts WHERE post = ?1")?
        .query_row([&post], |row| row.get(0))
        .optional()?;
    let mut totals = PostTotals {
        post: PostId::new(&post).map_err(damaged)?,
        author: author.map(UserId::new).transpose().map_err(damaged)?,
        counts: Vec::new(),
        score: Score::default(),
    };
    let mut select = connection.prepare_cached(
        "SELECT kind, count, generation, score FROM post_totals WHERE post = ?1 ORDER BY kind",
    )?;
    let mut rows = select.query([&post])?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        if kind == "like" {
            totals.score = Score { generation: row.get(2)?, value: row.get(3)? };
        }
        totals.counts.push((kind, row.get(1)?));
    }
    Ok(totals)
}
