//! Counting everything again from the raw events and the baseline, and comparing.

use feedkit_core::backend::verification::{Differences, MAX_DIFFERENCES, Sum};
use feedkit_core::effect::LikePolicy;
use feedkit_core::inspect::Verification;
use feedkit_core::trending::Trending;
use tokio_postgres::types::ToSql;

use super::connection::Session;
use super::failure::Sql;
use super::numbers::partition_at;
use super::rebuild::all_sums;
use super::sql_time::SqlTime;
use super::{positions, rollup_positions, schema};

/// The sums that the rollups lack, as parameters that stand for rows.
#[derive(Default)]
struct Lacking {
    hours: Vec<SqlTime>,
    posts: Vec<String>,
    kinds: Vec<String>,
    counts: Vec<i64>,
}

const LACKING: &str =
    "unnest($1::timestamptz[], $2::text[], $3::text[], $4::bigint[]) AS l (hour, post_id, kind, n)";

/// Compares totals, hourly sums, likes, authors and the journal with what the raw events say. All
/// are those of one moment, which is the transaction's.
pub(super) async fn verify(session: &Session, likes: LikePolicy, trending: &Trending) -> Sql<Verification> {
    let mut differences = Differences::default();
    let positions = positions::all(session).await?;
    let events = session.query_one("SELECT count(*) FROM events", &[]).await?;
    let events = events.get::<_, i64>(0) as u64;
    let mut lacking = Lacking::default();
    rollup_positions::lacking(session, &positions, trending, |totals| {
        for ((hour, (post, kind)), n) in totals.by_hour {
            lacking.hours.push(SqlTime(hour));
            lacking.posts.push(post.as_str().to_owned());
            lacking.kinds.push(kind.to_owned());
            lacking.counts.push(n);
        }
    })
    .await?;
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&lacking.hours, &lacking.posts, &lacking.kinds, &lacking.counts];
    let posts = format!(
        "SELECT count(*) FROM (SELECT post_id FROM post_totals UNION SELECT post_id FROM {LACKING}) AS p"
    );
    let posts = session.query_one(&posts, &parameters).await?.get::<_, i64>(0) as u64;

    let sums = all_sums();
    let mut checks = vec![
        (
            Sum::Hourly,
            format!("SELECT hour || ' ' || post_id || ' ' || kind AS k, n FROM ({sums}) AS s"),
            format!(
                "SELECT hour || ' ' || post_id || ' ' || kind AS k, n FROM \
                 (SELECT hour, post_id, kind, count AS n FROM post_hourly UNION ALL SELECT * FROM {LACKING}) AS h"
            ),
        ),
        (
            Sum::Total,
            format!("SELECT post_id || ' ' || kind AS k, n FROM ({sums}) AS s"),
            format!(
                "SELECT post_id || ' ' || kind AS k, n FROM (SELECT post_id, kind, count AS n FROM post_totals \
                 UNION ALL SELECT post_id, kind, n FROM {LACKING}) AS t"
            ),
        ),
    ];
    // If every like counts, the table of likes is not used.
    if likes == LikePolicy::Unique {
        checks.push((
            Sum::Likers,
            "SELECT post_id AS k, count(*) AS n FROM likes GROUP BY post_id".to_owned(),
            format!(
                "SELECT post_id AS k, n FROM (SELECT post_id, count AS n FROM post_totals WHERE kind = 'like' \
                 UNION ALL SELECT post_id, n FROM {LACKING} WHERE l.kind = 'like') AS t"
            ),
        ));
    }
    for (what, counted, stored) in checks {
        compare(session, &mut differences, what, &counted, &stored, &parameters).await?;
    }
    authors(session, &mut differences).await?;
    journal(session, &mut differences).await?;
    Ok(differences.into_verification(events, posts))
}

/// Reports where the sums by k of two lists of (k, n) differ. A k that is missing in one list is 0
/// there.
async fn compare(
    session: &Session,
    differences: &mut Differences,
    what: Sum,
    counted: &str,
    stored: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Sql<()> {
    let select = format!(
        "SELECT k, counted, stored, count(*) OVER () FROM ( \
           SELECT k, sum(c)::bigint AS counted, sum(s)::bigint AS stored FROM ( \
             SELECT k, n AS c, 0 AS s FROM ({counted}) AS x UNION ALL SELECT k, 0, n FROM ({stored}) AS y) AS z \
           GROUP BY k) AS w WHERE counted <> stored ORDER BY k COLLATE \"C\" LIMIT {MAX_DIFFERENCES}"
    );
    let rows = session.query(&select, parameters).await?;
    for row in &rows {
        let (key, counted, stored): (&str, i64, i64) = (row.get(0), row.get(1), row.get(2));
        differences.sum(what, key, counted, stored);
    }
    add_untold(differences, &rows, 3);
    Ok(())
}

/// Checks that each post's author sent the event that had an effect. For posts older than the raw
/// events only the author is stored.
async fn authors(session: &Session, differences: &mut Differences) -> Sql<()> {
    let dropped = schema::meta(session, "dropped_until").await?.is_some();
    let select = format!(
        "SELECT coalesce(e.post_id, p.post_id), e.user_id, p.author, count(*) OVER () \
         FROM (SELECT post_id, user_id FROM events WHERE kind = 'post' AND effect <> 0) AS e \
         FULL OUTER JOIN posts p ON p.post_id = e.post_id \
         WHERE p.author IS NULL OR p.author <> coalesce(e.user_id, CASE WHEN $1 THEN p.author ELSE '' END) \
         ORDER BY 1 LIMIT {MAX_DIFFERENCES}"
    );
    let rows = session.query(&select, &[&dropped]).await?;
    for row in &rows {
        differences.author(row.get::<_, &str>(0), row.get(1), row.get(2));
    }
    add_untold(differences, &rows, 3);
    Ok(())
}

/// Checks that each partition's journal reaches from its beginning to the position, without a hole.
async fn journal(session: &Session, differences: &mut Differences) -> Sql<()> {
    let select = format!(
        "WITH runs AS ( \
           SELECT partition, first, next FROM journal \
           UNION ALL SELECT partition, position, position FROM positions) \
         SELECT partition, reached, first, count(*) OVER () FROM ( \
           SELECT r.partition, r.first, lag(r.next, 1, coalesce(p.journal_from, 0)) \
             OVER (PARTITION BY r.partition ORDER BY r.first, r.next) AS reached \
           FROM runs r LEFT JOIN positions p ON p.partition = r.partition) AS steps \
         WHERE reached <> first ORDER BY partition, first LIMIT {MAX_DIFFERENCES}"
    );
    let rows = session.query(&select, &[]).await?;
    for row in &rows {
        differences.journal(partition_at(row, 0), row.get(1), row.get(2));
    }
    add_untold(differences, &rows, 3);
    Ok(())
}

/// Counts the differences that were not read. Each row has their number.
fn add_untold(differences: &mut Differences, rows: &[tokio_postgres::Row], column: usize) {
    let all = rows.first().map_or(0, |row| row.get::<_, i64>(column) as u64);
    differences.untold(all.saturating_sub(rows.len() as u64));
}
