//! The history's answers to users.

use std::collections::BTreeMap;

use async_trait::async_trait;
use feedkit_core::queries::{Activity, Bucket, Comment, CommentCursor, PostView, RankedPost};
use feedkit_core::{EventId, PostId, Queries, Result, Timestamp, UserId};
use rusqlite::{Connection, Row, params};

use super::events;
use super::failure::{Sql, damaged};
use super::history::SqliteHistory;
use super::ranking::{Order, ranked_by_likes};
use super::totals::HISTORY;

#[async_trait]
impl Queries for SqliteHistory {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>> {
        let post = post.clone();
        self.state.read(move |connection| HISTORY.view(connection, post)).await
    }

    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>> {
        match since {
            None => self.first(Order::Likes, limit).await,
            Some(since) => self.state.read(move |connection| top_since(connection, since, limit)).await,
        }
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.first(Order::Trending { decay: self.policy().trending, now }, limit).await
    }

    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>> {
        let post = post.clone();
        self.state.read(move |connection| activity(connection, &post, by, from, to)).await
    }

    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        let post = post.clone();
        self.state.read(move |connection| comments(connection, &post, before, limit)).await
    }

    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>> {
        let (user, posts) = (user.clone(), posts.to_vec());
        let liked = move |connection: &Connection| -> Sql<Vec<PostId>> {
            let mut select =
                connection.prepare_cached("SELECT 1 FROM likes WHERE post = ?1 AND user = ?2")?;
            let mut liked = Vec::new();
            for post in posts {
                if select.exists([post.as_str(), user.as_str()])? {
                    liked.push(post);
                }
            }
            Ok(liked)
        };
        self.state.read(liked).await
    }
}

fn top_since(connection: &Connection, since: Timestamp, limit: usize) -> Sql<Vec<RankedPost>> {
    let mut select = connection.prepare_cached(
        "SELECT post, sum(count) AS n FROM post_hourly WHERE hour >= ?1 AND kind = 'like' \
         GROUP BY post HAVING n > 0 ORDER BY n DESC, post LIMIT ?2",
    )?;
    let rows = select.query(params![since.hour().as_millis(), limit as i64])?;
    ranked_by_likes(rows)
}

/// The table's key begins with the hour. So this goes from one existing hour to the next, and looks
/// the post up in each.
const ACTIVITY: &str = "WITH RECURSIVE hours(hour) AS ( \
       SELECT min(hour) FROM post_hourly WHERE hour >= ?2 AND hour < ?3 \
       UNION ALL \
       SELECT (SELECT min(hour) FROM post_hourly WHERE hour > hours.hour AND hour < ?3) \
       FROM hours WHERE hours.hour IS NOT NULL) \
     SELECT p.hour, p.kind, p.count FROM hours JOIN post_hourly p ON p.hour = hours.hour AND p.post = ?1 \
     WHERE p.count <> 0 ORDER BY p.hour";

fn activity(
    connection: &Connection,
    post: &PostId,
    by: Bucket,
    from: Timestamp,
    to: Timestamp,
) -> Sql<Vec<Activity>> {
    let mut select = connection.prepare_cached(ACTIVITY)?;
    let first_bucket = match by.start(from) {
        start if start < from => start.as_millis().saturating_add(bucket_millis(by)),
        start => start.as_millis(),
    };
    // A bucket that starts before `to` is counted to its end.
    let last_bucket = by.start(Timestamp::from_millis(to.as_millis().saturating_sub(1)));
    let end = last_bucket.as_millis().saturating_add(bucket_millis(by));
    let mut buckets: BTreeMap<Timestamp, BTreeMap<String, i64>> = BTreeMap::new();
    let mut rows = select.query(params![post.as_str(), first_bucket, end])?;
    while let Some(row) = rows.next()? {
        let start = by.start(Timestamp::from_millis(row.get(0)?));
        *buckets.entry(start).or_default().entry(row.get(1)?).or_default() += row.get::<_, i64>(2)?;
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

fn bucket_millis(by: Bucket) -> i64 {
    match by {
        Bucket::Day => 86_400_000,
        _ => 3_600_000,
    }
}

fn comments(
    connection: &Connection,
    post: &PostId,
    before: Option<CommentCursor>,
    limit: usize,
) -> Sql<Vec<Comment>> {
    // An event's own time does not tell the month of its id. So read the newest of every month, and
    // then take the newest of those.
    let mut comments = Vec::new();
    for month in events::months(connection)? {
        let mut select = connection.prepare_cached(&format!(
            "SELECT id, user, text, time FROM {month} WHERE kind = 'comment' AND post = ?1 \
             AND (time, id, user) < (?2, ?3, ?4) ORDER BY time DESC, id DESC, user DESC LIMIT ?5"
        ))?;
        let mut rows = match &before {
            Some(at) => select.query(params![
                post.as_str(),
                at.time.as_millis(),
                &at.id.as_bytes()[..],
                at.user.as_str(),
                limit as i64
            ])?,
            None => select.query(params![post.as_str(), i64::MAX, &[][..] as &[u8], "", limit as i64])?,
        };
        while let Some(row) = rows.next()? {
            comments.push(Comment {
                id: EventId::from_bytes(row.get(0)?).map_err(damaged)?,
                user_id: user_at(row, 1)?,
                text: row.get(2)?,
                timestamp: Timestamp::from_millis(row.get(3)?),
            });
        }
    }
    comments.sort_by(|a, b| (b.timestamp, b.id, &b.user_id).cmp(&(a.timestamp, a.id, &a.user_id)));
    comments.truncate(limit);
    Ok(comments)
}

fn user_at(row: &Row<'_>, column: usize) -> Sql<UserId> {
    Ok(UserId::new(row.get::<_, String>(column)?).map_err(damaged)?)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    #[test]
    fn activity_looks_at_one_row_an_hour() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema_1.sql")).unwrap();
        let mut select = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", super::ACTIVITY)).unwrap();
        let steps = select.query_map(["p", "0", "1"], |row| row.get(3)).unwrap();
        let mut steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        steps.retain(|step| step.contains("post_hourly") || step.contains(" p "));
        let hour = "SEARCH post_hourly USING PRIMARY KEY (hour>? AND hour<?)";
        assert_eq!(steps, [hour, hour, "SEARCH p USING PRIMARY KEY (hour=? AND post=?)"]);
    }
}
