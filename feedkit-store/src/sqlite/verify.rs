//! Recounts everything from the raw events and the baseline, and compares.

use feedkit_core::queries::Verification;
use rusqlite::Connection;

use super::failure::Sql;
use super::{events, rebuild};

/// Most differences told.
const SHOWN: usize = 100;

/// Compares totals, hourly sums, likes, authors and the journal's ends with what the raw events say.
pub(super) fn verify(connection: &Connection) -> Sql<Verification> {
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
        &format!(
            "SELECT hour || ' ' || post || ' ' || kind AS k, sum(n) AS n FROM ({sums}) GROUP BY hour, post, kind"
        ),
        "SELECT hour || ' ' || post || ' ' || kind AS k, count AS n FROM post_hourly",
    )?;
    check(
        "total",
        &format!("SELECT post || ' ' || kind AS k, sum(n) AS n FROM ({sums}) GROUP BY post, kind"),
        "SELECT post || ' ' || kind AS k, count AS n FROM post_totals",
    )?;
    check(
        "number of users who like",
        "SELECT post AS k, count(*) AS n FROM likes GROUP BY post",
        "SELECT post AS k, count AS n FROM post_totals WHERE kind = 'like' AND \
         EXISTS (SELECT 1 FROM likes)",
    )?;
    check(
        "journal's end of partition",
        "SELECT partition AS k, max(next) AS n FROM journal GROUP BY partition",
        "SELECT partition AS k, position AS n FROM positions WHERE partition NOT IN (SELECT partition FROM gaps)",
    )?;
    Ok(verification)
}

/// Tells where two lists of (k, n) differ; a missing n is 0.
fn compare(
    connection: &Connection,
    verification: &mut Verification,
    what: &str,
    counted: &str,
    stored: &str,
) -> Sql<()> {
    let mut select = connection.prepare(&format!(
        "SELECT coalesce(c.k, s.k), coalesce(c.n, 0) AS cn, coalesce(s.n, 0) AS sn \
         FROM ({counted}) c FULL OUTER JOIN ({stored}) s ON c.k = s.k WHERE cn <> sn"
    ))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        verification.difference_count += 1;
        if verification.differences.len() < SHOWN {
            let key = row.get_ref(0)?;
            let key = match key {
                rusqlite::types::ValueRef::Integer(n) => n.to_string(),
                other => other.as_str().unwrap_or("?").to_owned(),
            };
            let (counted, stored): (i64, i64) = (row.get(1)?, row.get(2)?);
            verification.differences.push(format!("{what} {key}: counted {counted}, stored {stored}"));
        }
    }
    Ok(())
}
