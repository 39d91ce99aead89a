//! Counting everything again from the raw events and the baseline, and comparing.

use feedkit_core::Partition;
use feedkit_core::backend::verification::{Differences, Sum};
use feedkit_core::effect::LikePolicy;
use feedkit_core::inspect::Verification;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::failure::Sql;
use super::{events, rebuild, retention};

/// Compares totals, hourly sums, likes, authors and the journal with what the raw events say.
pub(super) fn verify(connection: &Connection, likes: LikePolicy) -> Sql<Verification> {
    let mut differences = Differences::default();
    let mut events = 0;
    for month in events::months(connection)? {
        let count: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {month}"), [], |row| row.get(0))?;
        events += count as u64;
    }
    let posts: i64 =
        connection.query_row("SELECT count(DISTINCT post) FROM post_totals", [], |row| row.get(0))?;

    let sums = rebuild::all_sums(connection)?;
    let mut check =
        |what: Sum, counted: &str, stored: &str| compare(connection, &mut differences, what, counted, stored);
    check(
        Sum::Hourly,
        &format!("SELECT hour || ' ' || post || ' ' || kind AS k, n FROM ({sums})"),
        "SELECT hour || ' ' || post || ' ' || kind AS k, count AS n FROM post_hourly",
    )?;
    check(
        Sum::Total,
        &format!("SELECT post || ' ' || kind AS k, n FROM ({sums})"),
        "SELECT post || ' ' || kind AS k, count AS n FROM post_totals",
    )?;
    // If every like counts, the table of likes is not used.
    if likes == LikePolicy::Unique {
        check(
            Sum::Likers,
            "SELECT post AS k, count(*) AS n FROM likes GROUP BY post",
            "SELECT post AS k, count AS n FROM post_totals WHERE kind = 'like'",
        )?;
    }
    authors(connection, &mut differences)?;
    journal(connection, &mut differences)?;
    Ok(differences.into_verification(events, posts as u64))
}

/// Reports where the sums by k of two lists of (k, n) differ. A k that is missing in one list is 0
/// there.
///
/// Both lists are grouped together. In a FULL OUTER JOIN of two subqueries, SQLite would read one
/// of them for each row of the other.
fn compare(
    connection: &Connection,
    differences: &mut Differences,
    what: Sum,
    counted: &str,
    stored: &str,
) -> Sql<()> {
    let mut select = connection.prepare(&format!(
        "SELECT k, sum(c) AS counted, sum(s) AS stored FROM ( \
           SELECT k, n AS c, 0 AS s FROM ({counted}) UNION ALL SELECT k, 0, n FROM ({stored})) \
         GROUP BY k HAVING counted <> stored"
    ))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (counted, stored): (i64, i64) = (row.get(1)?, row.get(2)?);
        let key = shown(row.get_ref(0)?);
        differences.sum(what, key, counted, stored);
    }
    Ok(())
}

/// Checks that each post's author sent the event that had an effect. For posts older than the raw
/// events only the author is stored.
fn authors(connection: &Connection, differences: &mut Differences) -> Sql<()> {
    let mut published = vec!["SELECT NULL AS post, NULL AS user WHERE FALSE".to_owned()];
    for month in events::months(connection)? {
        published.push(format!("SELECT post, user FROM {month} WHERE kind = 'post' AND effect <> 0"));
    }
    let dropped = retention::dropped_until(connection)?.is_some();
    let mut select = connection.prepare(&format!(
        "SELECT coalesce(e.post, p.post), e.user, p.author \
         FROM ({}) e FULL OUTER JOIN posts p ON p.post = e.post \
         WHERE p.author IS NULL OR p.author <> coalesce(e.user, CASE WHEN ?1 THEN p.author ELSE '' END)",
        published.join(" UNION ALL ")
    ))?;
    let mut rows = select.query([dropped])?;
    while let Some(row) = rows.next()? {
        let (post, sent, stored): (String, Option<String>, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        differences.author(post, sent.as_deref(), stored.as_deref());
    }
    Ok(())
}

/// Checks that each partition's journal reaches from its beginning to the position, without a hole.
fn journal(connection: &Connection, differences: &mut Differences) -> Sql<()> {
    let mut select = connection.prepare(
        "WITH runs AS ( \
           SELECT partition, first, next FROM journal \
           UNION ALL SELECT partition, position, position FROM positions) \
         SELECT partition, reached, first FROM ( \
           SELECT r.partition, r.first, lag(r.next, 1, coalesce(p.journal_from, 0)) \
             OVER (PARTITION BY r.partition ORDER BY r.first, r.next) AS reached \
           FROM runs r LEFT JOIN positions p ON p.partition = r.partition) \
         WHERE reached <> first ORDER BY partition, first",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (partition, reached, first): (u32, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        differences.journal(Partition(partition), reached, first);
    }
    Ok(())
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(n) => n.to_string(),
        other => other.as_str().unwrap_or("?").to_owned(),
    }
}
