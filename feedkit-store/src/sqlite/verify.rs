//! Recounts everything from the raw events and the baseline, and compares.

use std::fmt::Display;

use feedkit_core::effect::LikePolicy;
use feedkit_core::inspect::Verification;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::failure::Sql;
use super::{events, rebuild, retention};

/// Most differences told.
const SHOWN: usize = 100;

/// Compares totals, hourly sums, likes, authors and the journal's run with what the raw events say.
pub(super) fn verify(connection: &Connection, likes: LikePolicy) -> Sql<Verification> {
    let mut verification = Verification::default();
    for month in events::months(connection)? {
        let count: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {month}"), [], |row| row.get(0))?;
        verification.events += count as u64;
    }
    let posts: i64 =
        connection.query_row("SELECT count(DISTINCT post) FROM post_totals", [], |row| row.get(0))?;
    verification.posts = posts as u64;

    let sums = rebuild::all_sums(connection)?;
    let mut check = |what: &str, counted: &str, stored: &str| {
        compare(connection, &mut verification, what, counted, stored)
    };
    check(
        "hourly sum",
        &format!("SELECT hour || ' ' || post || ' ' || kind AS k, n FROM ({sums})"),
        "SELECT hour || ' ' || post || ' ' || kind AS k, count AS n FROM post_hourly",
    )?;
    check(
        "total",
        &format!("SELECT post || ' ' || kind AS k, n FROM ({sums})"),
        "SELECT post || ' ' || kind AS k, count AS n FROM post_totals",
    )?;
    // Where every like counts, nobody is kept as liking anything.
    if likes == LikePolicy::Unique {
        check(
            "number of users who like",
            "SELECT post AS k, count(*) AS n FROM likes GROUP BY post",
            "SELECT post AS k, count AS n FROM post_totals WHERE kind = 'like'",
        )?;
    }
    authors(connection, &mut verification)?;
    journal(connection, &mut verification)?;
    Ok(verification)
}

/// Tells where two lists of (k, n) differ in the sum of a k; what is missing in one is 0.
///
/// One grouping of both: as a FULL OUTER JOIN of two subqueries, SQLite would look through the one for each row of
/// the other.
fn compare(
    connection: &Connection,
    verification: &mut Verification,
    what: &str,
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
        differ(verification, format_args!("{what} {key}: counted {counted}, stored {stored}"));
    }
    Ok(())
}

/// Each post's author is who sent the event that took effect; older ones than the raw events have only the author.
fn authors(connection: &Connection, verification: &mut Verification) -> Sql<()> {
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
        let [post, sent, stored] = [0, 1, 2].map(|column| row.get_ref(column).map(shown));
        let (post, sent, stored) = (post?, sent?, stored?);
        differ(verification, format_args!("author of {post}: published by {sent}, stored {stored}"));
    }
    Ok(())
}

/// Each partition's journal reaches from where it begins to the position, without a hole.
fn journal(connection: &Connection, verification: &mut Verification) -> Sql<()> {
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
        differ(
            verification,
            format_args!("journal of partition {partition}: reaches {reached}, goes on at {first}"),
        );
    }
    Ok(())
}

fn differ(verification: &mut Verification, difference: impl Display) {
    verification.difference_count += 1;
    if verification.differences.len() < SHOWN {
        verification.differences.push(difference.to_string());
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "nobody".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        other => other.as_str().unwrap_or("?").to_owned(),
    }
}
