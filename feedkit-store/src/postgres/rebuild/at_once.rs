//! Computing all totals in one transaction, for a history in which events cannot be told by their
//! offsets: a partition has gone back, and its offsets repeat.

use feedkit_core::Result;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::trending::{Score, Trending};

use super::super::connection::Session;
use super::super::database::Database;
use super::super::failure::Sql;
use super::super::pool::transaction;
use super::super::sql_time::SqlTime;
use super::columns::{HOUR, KIND};

/// How many likes to read, and posts to write, at a time.
const PAGE: usize = 20_000;

/// The query for all net sums by hour, post and kind. The totals are sums of these.
pub(in super::super) fn all_sums() -> String {
    format!(
        "SELECT hour, post_id, kind, count AS n FROM event_baseline \
         UNION ALL SELECT {HOUR}, post_id, {KIND}, sum(effect)::bigint FROM events \
         WHERE effect <> 0 AND kind <> 'post' GROUP BY 1, 2, 3"
    )
}

/// Replaces all totals, and sets the rollups' positions to the history's.
///
/// The lock is taken before the transaction's snapshot, so that nothing is applied between reading
/// and writing. A follower that applies entries waits, and then finds the new positions.
pub(super) async fn totals(database: &Database, trending: &Trending) -> Result<()> {
    transaction!(database, "BEGIN ISOLATION LEVEL REPEATABLE READ", session => {
        session.batch_execute("LOCK TABLE rollup_positions IN EXCLUSIVE MODE").await?;
        let sums = all_sums();
        session.batch_execute("DELETE FROM post_totals; DELETE FROM post_hourly").await?;
        session
            .batch_execute(&format!(
                "INSERT INTO post_hourly (hour, post_id, kind, count) \
                 SELECT hour, post_id, kind, sum(n) FROM ({sums}) AS s GROUP BY hour, post_id, kind \
                 HAVING sum(n) <> 0"
            ))
            .await?;
        failpoint::reach(stage::REBUILD);
        // Sums of zero are written too: a post that was liked once is a post.
        session
            .batch_execute(&format!(
                "INSERT INTO post_totals (post_id, kind, count, generation, score) \
                 SELECT post_id, kind, sum(n), 0, 0 FROM ({sums}) AS s GROUP BY post_id, kind"
            ))
            .await?;
        failpoint::reach(stage::REBUILD);
        scores(session, trending).await?;
        session
            .batch_execute(
                "DELETE FROM rollup_positions; \
                 INSERT INTO rollup_positions SELECT partition, position FROM positions",
            )
            .await?;
        Ok(())
    })
}

/// Computes trending scores from each like's own time; for likes in the baseline, from their hour.
async fn scores(session: &Session, trending: &Trending) -> Sql<()> {
    session
        .batch_execute(
            "DECLARE liked NO SCROLL CURSOR FOR \
             SELECT post_id, time, effect::bigint FROM events WHERE kind IN ('like', 'unlike') AND effect <> 0 \
             UNION ALL SELECT post_id, hour, count FROM event_baseline WHERE kind = 'like' \
             ORDER BY 1",
        )
        .await?;
    let fetch = session.prepare(&format!("FETCH {PAGE} FROM liked")).await?;
    let mut done: Vec<(String, Score)> = Vec::new();
    loop {
        let rows = session.query(&fetch, &[]).await?;
        for row in &rows {
            let post: &str = row.get(0);
            if done.last().is_none_or(|(last, _)| last != post) {
                done.push((post.to_owned(), Score::default()));
            }
            let weight = trending.weight(row.get::<_, SqlTime>(1).0);
            if let Some((_, score)) = done.last_mut() {
                score.add(weight, row.get::<_, i64>(2) as f64);
            }
        }
        let last = rows.is_empty();
        if last || done.len() > PAGE {
            // The next rows may continue the last post.
            let open = if last { None } else { done.pop() };
            store(session, &done).await?;
            done.clear();
            done.extend(open);
        }
        if last {
            session.batch_execute("CLOSE liked").await?;
            return Ok(());
        }
    }
}

async fn store(session: &Session, scores: &[(String, Score)]) -> Sql<()> {
    let posts: Vec<&str> = scores.iter().map(|(post, _)| post.as_str()).collect();
    let generations: Vec<i64> = scores.iter().map(|(_, score)| score.generation).collect();
    let values: Vec<f64> = scores.iter().map(|(_, score)| score.value).collect();
    session
        .execute(
            "UPDATE post_totals t SET generation = s.generation, score = s.score \
             FROM unnest($1::text[], $2::bigint[], $3::float8[]) AS s (post_id, generation, score) \
             WHERE t.post_id = s.post_id AND t.kind = 'like'",
            &[&posts, &generations, &values],
        )
        .await?;
    Ok(())
}
