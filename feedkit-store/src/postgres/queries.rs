//! The history's answers to users.

use std::collections::BTreeMap;

use async_trait::async_trait;
use feedkit_core::queries::{Activity, Bucket, Comment, CommentCursor, PostView, RankedPost};
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{EventId, PostId, Queries, Result, Timestamp, UserId};
use hashbrown::HashSet;
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::Session;
use super::failure::{Sql, damaged};
use super::history::PostgresHistory;
use super::likes;
use super::numbers::limited;
use super::pool::reading;
use super::sql_time::SqlTime;

/// Counts, top lists and activity come from the rollups. Authors, comments and likes are those of
/// the last commit.
#[async_trait]
impl Queries for PostgresHistory {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>> {
        reading!(self.store.database(), session => view(session, post).await)
    }

    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>> {
        reading!(self.store.database(), session => top(session, since, limit).await)
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        let decay = self.store.trending();
        reading!(self.store.database(), session => trending(session, &decay, now, limit).await)
    }

    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>> {
        reading!(self.store.database(), session => activity(session, post, by, from, to).await)
    }

    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        reading!(self.store.database(), session => comments(session, post, before, limit).await)
    }

    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>> {
        let database = self.store.database();
        let seed = database.like_seed().await?;
        let key = |post: &PostId| likes::key(seed, post, user);
        let keys: Vec<Uuid> = posts.iter().map(|post| Uuid::from_u128(key(post))).collect();
        let known: HashSet<u128> = reading!(database, session => {
            let select = session.prepare_cached(likes::KNOWN).await?;
            likes::known(session, &select, &keys).await
        })?;
        Ok(posts.iter().filter(|post| known.contains(&key(post))).cloned().collect())
    }
}

async fn view(session: &Session, post: &PostId) -> Sql<Option<PostView>> {
    let select = session
        .prepare_cached(
            "SELECT kind, count, NULL AS author FROM post_totals WHERE post_id = $1 \
             UNION ALL SELECT NULL, NULL, author FROM posts WHERE post_id = $1",
        )
        .await?;
    let rows = session.query(&select, &[&post.as_str()]).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let (mut author, mut counts) = (None, Vec::new());
    for row in &rows {
        match row.get::<_, Option<&str>>(2) {
            Some(name) => author = Some(UserId::new(name).map_err(damaged)?),
            None => counts.push((row.get(0), row.get(1))),
        }
    }
    Ok(Some(PostView::new(post.clone(), author, counts)))
}

async fn top(session: &Session, since: Option<Timestamp>, limit: usize) -> Sql<Vec<RankedPost>> {
    let rows = match since {
        None => {
            let select = session
                .prepare_cached(
                    "SELECT post_id, count FROM post_totals WHERE kind = 'like' AND count > 0 \
                     ORDER BY count DESC, post_id LIMIT $1",
                )
                .await?;
            session.query(&select, &[&limited(limit)]).await?
        }
        Some(since) => {
            let select = session
                .prepare_cached(
                    "SELECT post_id, sum(count)::bigint AS n FROM post_hourly WHERE hour >= $1 AND kind = 'like' \
                     GROUP BY post_id HAVING sum(count) > 0 ORDER BY n DESC, post_id LIMIT $2",
                )
                .await?;
            session.query(&select, &[&SqlTime(since.hour()), &limited(limit)]).await?
        }
    };
    let ranked = |row: &Row| {
        let likes: i64 = row.get(1);
        Ok(RankedPost { post_id: post_at(row, 0)?, likes, score: likes as f64 })
    };
    rows.iter().map(ranked).collect()
}

/// Orders by the logarithms of the scores, relative to the current landmark: their order does not
/// depend on the time. The scores of the posts found are then computed.
async fn trending(session: &Session, decay: &Trending, now: Timestamp, limit: usize) -> Sql<Vec<RankedPost>> {
    let select = session
        .prepare_cached(
            "SELECT post_id, count, generation, score FROM post_totals WHERE kind = 'like' AND count > 0 \
             ORDER BY CASE WHEN score > 0 THEN ln(score) / ln(2::float8) + 64::float8 * (generation - $1) END \
             DESC NULLS LAST, post_id LIMIT $2",
        )
        .await?;
    let rows = session.query(&select, &[&decay.generation(now), &limited(limit)]).await?;
    let ranked = |row: &Row| {
        let score = decay.at(Score { generation: row.get(2), value: row.get(3) }, now);
        Ok(RankedPost { post_id: post_at(row, 0)?, likes: row.get(1), score })
    };
    let mut posts: Vec<RankedPost> = rows.iter().map(ranked).collect::<Sql<_>>()?;
    // The logarithms are rounded.
    posts.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.post_id.cmp(&b.post_id)));
    Ok(posts)
}

/// The table's key begins with the hour. So this goes from one existing hour to the next, and looks
/// the post up in each.
const ACTIVITY: &str = "WITH RECURSIVE hours(hour) AS ( \
       SELECT min(hour) FROM post_hourly WHERE hour >= $2 AND hour < $3 \
       UNION ALL \
       SELECT (SELECT min(hour) FROM post_hourly WHERE hour > hours.hour AND hour < $3) \
       FROM hours WHERE hours.hour IS NOT NULL) \
     SELECT p.hour, p.kind, p.count FROM hours JOIN post_hourly p ON p.hour = hours.hour AND p.post_id = $1 \
     WHERE p.count <> 0 ORDER BY p.hour";

async fn activity(
    session: &Session,
    post: &PostId,
    by: Bucket,
    from: Timestamp,
    to: Timestamp,
) -> Sql<Vec<Activity>> {
    let width = match by {
        Bucket::Day => 86_400_000,
        _ => 3_600_000,
    };
    let plus = |time: Timestamp| Timestamp::from_millis(time.as_millis().saturating_add(width));
    let first_bucket = match by.start(from) {
        start if start < from => plus(start),
        start => start,
    };
    // A bucket that starts before `to` is counted to its end.
    let end = plus(by.start(Timestamp::from_millis(to.as_millis().saturating_sub(1))));
    let select = session.prepare_cached(ACTIVITY).await?;
    let rows = session.query(&select, &[&post.as_str(), &SqlTime(first_bucket), &SqlTime(end)]).await?;
    let mut buckets: BTreeMap<Timestamp, BTreeMap<String, i64>> = BTreeMap::new();
    for row in &rows {
        let start = by.start(row.get::<_, SqlTime>(0).0);
        *buckets.entry(start).or_default().entry(row.get(1)).or_default() += row.get::<_, i64>(2);
    }
    Ok(buckets
        .into_iter()
        .map(|(start, mut counts)| {
            counts.retain(|_, n| *n != 0);
            Activity { start, counts }
        })
        .filter(|bucket| !bucket.counts.is_empty())
        .collect())
}

async fn comments(
    session: &Session,
    post: &PostId,
    before: Option<CommentCursor>,
    limit: usize,
) -> Sql<Vec<Comment>> {
    let select = |before: &str, limit: &str| {
        format!(
            "SELECT event_id, user_id, text, time FROM events WHERE kind = 'comment' AND post_id = $1 {before} \
             ORDER BY time DESC, event_id DESC, user_id DESC LIMIT {limit}"
        )
    };
    let rows = match before {
        Some(at) => {
            let select = select("AND (time, event_id, user_id) < ($2, $3, $4)", "$5");
            let select = session.prepare_cached(&select).await?;
            let id = Uuid::from_bytes(*at.id.as_bytes());
            let (time, user) = (SqlTime(at.time), at.user.as_str());
            session.query(&select, &[&post.as_str(), &time, &id, &user, &limited(limit)]).await?
        }
        None => {
            let select = session.prepare_cached(&select("", "$2")).await?;
            session.query(&select, &[&post.as_str(), &limited(limit)]).await?
        }
    };
    let comment = |row: &Row| {
        Ok(Comment {
            id: EventId::from_bytes(*row.get::<_, Uuid>(0).as_bytes()).map_err(damaged)?,
            user_id: user_at(row, 1)?,
            text: row.get(2),
            timestamp: row.get::<_, SqlTime>(3).0,
        })
    };
    rows.iter().map(comment).collect()
}

fn user_at(row: &Row, column: usize) -> Sql<UserId> {
    Ok(UserId::new(row.get::<_, &str>(column)).map_err(damaged)?)
}

fn post_at(row: &Row, column: usize) -> Sql<PostId> {
    Ok(PostId::new(row.get::<_, &str>(column)).map_err(damaged)?)
}
