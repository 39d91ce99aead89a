//! Reading all totals of one moment in portions.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use feedkit_core::history::{PostTotals, Snapshot};
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{Positions, PostId, Result, UserId};

use super::connection::Session;
use super::database::Database;
use super::failure::{Sql, damaged};
use super::numbers::limited;
use super::totals::Totals;
use super::{positions, rollup_positions};

/// Holds one transaction open from beginning to end. It reads the entries that the rollups lack
/// from the journal and adds them, so that the totals are those of the positions.
pub(super) struct PostgresSnapshot {
    session: Session,
    positions: Positions,
    lacking: Lacking,
    after: String,
}

/// What the rollups lack, by post and kind.
type Lacking = BTreeMap<PostId, BTreeMap<String, (i64, Score)>>;

impl PostgresSnapshot {
    pub(super) async fn open(database: &Database, trending: Trending) -> Result<Self> {
        let session = database.session().await?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; {}; \
             SET LOCAL idle_in_transaction_session_timeout = 0",
            database.long_limit()
        );
        let open = async {
            session.batch_execute(&begin).await?;
            let positions = positions::all(&session).await?;
            let mut lacking = Lacking::new();
            rollup_positions::lacking(&session, &positions, &trending, |totals| add(&mut lacking, totals))
                .await?;
            Ok((positions, lacking))
        };
        let (positions, lacking) = session.within(open).await?;
        Ok(PostgresSnapshot { session, positions, lacking, after: String::new() })
    }
}

fn add(lacking: &mut Lacking, totals: Totals<'_>) {
    for ((post, kind), (count, score)) in totals.by_post {
        let counts = lacking.entry(post.clone()).or_default();
        let sum = counts.entry(kind.to_owned()).or_default();
        sum.0 += count;
        sum.1.add(score, 1.0);
    }
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    fn positions(&self) -> &Positions {
        &self.positions
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<PostTotals>> {
        let totals = self.session.within(read(&self.session, &self.lacking, &self.after, limit)).await?;
        if let Some(last) = totals.last() {
            self.after = last.post.as_str().to_owned();
        }
        Ok(totals)
    }
}

async fn read(session: &Session, lacking: &Lacking, after: &str, limit: usize) -> Sql<Vec<PostTotals>> {
    // A post has totals, an author, or both, or is new. So read the next posts of each sort, and
    // take the first of them all.
    let mut posts: Vec<PostId> = Vec::new();
    for table in ["post_totals", "posts"] {
        let select =
            format!("SELECT DISTINCT post_id FROM {table} WHERE post_id > $1 ORDER BY post_id LIMIT $2");
        let select = session.prepare_cached(&select).await?;
        for row in session.query(&select, &[&after, &limited(limit)]).await? {
            posts.push(PostId::new(row.get::<_, &str>(0)).map_err(damaged)?);
        }
    }
    let later = match PostId::new(after) {
        Ok(after) => lacking.range((Bound::Excluded(after), Bound::Unbounded)),
        // Only at the beginning: no post has an empty name.
        Err(_) => lacking.range::<PostId, _>(..),
    };
    posts.extend(later.take(limit).map(|(post, _)| post.clone()));
    posts.sort_unstable();
    posts.dedup();
    posts.truncate(limit);

    let mut totals: BTreeMap<PostId, PostTotals> = posts
        .iter()
        .map(|post| {
            let (author, counts, score) = (None, Vec::new(), Score::default());
            (post.clone(), PostTotals { post: post.clone(), author, counts, score })
        })
        .collect();
    let names: Vec<&str> = posts.iter().map(PostId::as_str).collect();
    let authors = session.prepare_cached("SELECT post_id, author FROM posts WHERE post_id = ANY($1)").await?;
    for row in session.query(&authors, &[&names]).await? {
        if let Some(post) = totals.get_mut(&PostId::new(row.get::<_, &str>(0)).map_err(damaged)?) {
            post.author = Some(UserId::new(row.get::<_, &str>(1)).map_err(damaged)?);
        }
    }
    let stored = session
        .prepare_cached(
            "SELECT post_id, kind, count, generation, score FROM post_totals WHERE post_id = ANY($1) \
             ORDER BY post_id, kind",
        )
        .await?;
    for row in session.query(&stored, &[&names]).await? {
        if let Some(post) = totals.get_mut(&PostId::new(row.get::<_, &str>(0)).map_err(damaged)?) {
            let kind: String = row.get(1);
            if kind == "like" {
                post.score = Score { generation: row.get(3), value: row.get(4) };
            }
            post.counts.push((kind, row.get(2)));
        }
    }
    for (post, totals) in &mut totals {
        for (kind, (count, score)) in lacking.get(post).into_iter().flatten() {
            match totals.counts.iter_mut().find(|(stored, _)| stored == kind) {
                Some((_, stored)) => *stored += count,
                None => totals.counts.push((kind.clone(), *count)),
            }
            if kind == "like" {
                totals.score.add(*score, 1.0);
            }
        }
        totals.counts.sort_unstable();
    }
    Ok(totals.into_values().collect())
}
