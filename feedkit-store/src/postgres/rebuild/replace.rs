//! Replacing the totals by those that a rebuild has summed up.

use feedkit_core::failpoint::{self, stage};

use super::super::connection::Session;
use super::super::failure::Sql;
use super::state;

/// How many rows one statement writes.
const PAGE: i64 = 20_000;

/// Writes the rows that differ, removes those that are not among the new ones, and ends the rebuild.
/// Readers see the old totals until the transaction is committed.
pub(super) async fn replace(session: &Session) -> Sql<()> {
    let Some(rebuild) = state::lock(session).await? else { return Ok(()) };
    totals(session).await?;
    failpoint::reach(stage::REBUILD);
    hourly(session).await?;
    session
        .batch_execute(
            "DELETE FROM post_totals t WHERE NOT EXISTS \
               (SELECT 1 FROM rebuilt_totals r WHERE r.post_id = t.post_id AND r.kind = t.kind); \
             DELETE FROM post_hourly t WHERE NOT EXISTS \
               (SELECT 1 FROM rebuilt_hourly r WHERE r.hour = t.hour AND r.post_id = t.post_id AND r.kind = t.kind)",
        )
        .await?;
    rebuild.end(session).await
}

async fn totals(session: &Session) -> Sql<()> {
    let page = session
        .prepare(
            "WITH page AS (SELECT post_id, kind, count, generation, score FROM rebuilt_totals WHERE (post_id, kind) > ($1, $2) \
               ORDER BY post_id, kind LIMIT $3), \
             written AS (INSERT INTO post_totals AS t (post_id, kind, count, generation, score) \
               SELECT * FROM page ORDER BY post_id, kind \
               ON CONFLICT (post_id, kind) DO UPDATE \
               SET count = excluded.count, generation = excluded.generation, score = excluded.score \
               WHERE (t.count, t.generation, t.score) \
                 IS DISTINCT FROM (excluded.count, excluded.generation, excluded.score)) \
             SELECT post_id, kind FROM page ORDER BY post_id DESC, kind DESC LIMIT 1",
        )
        .await?;
    let mut after = (String::new(), String::new());
    while let Some(row) = session.query_opt(&page, &[&after.0, &after.1, &PAGE]).await? {
        after = (row.get(0), row.get(1));
    }
    Ok(())
}

async fn hourly(session: &Session) -> Sql<()> {
    let page = session
        .prepare(
            "WITH page AS (SELECT hour, post_id, kind, count FROM rebuilt_hourly \
               WHERE (hour, post_id, kind) > (coalesce($1::timestamptz, '-infinity'), $2, $3) \
               ORDER BY hour, post_id, kind LIMIT $4), \
             written AS (INSERT INTO post_hourly AS t (hour, post_id, kind, count) \
               SELECT * FROM page ORDER BY hour, post_id, kind \
               ON CONFLICT (hour, post_id, kind) DO UPDATE SET count = excluded.count \
               WHERE t.count IS DISTINCT FROM excluded.count) \
             SELECT hour, post_id, kind FROM page ORDER BY hour DESC, post_id DESC, kind DESC LIMIT 1",
        )
        .await?;
    let mut after: (Option<super::super::sql_time::SqlTime>, String, String) = Default::default();
    while let Some(row) = session.query_opt(&page, &[&after.0, &after.1, &after.2, &PAGE]).await? {
        after = (Some(row.get(0)), row.get(1), row.get(2));
    }
    Ok(())
}
