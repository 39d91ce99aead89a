//! Summing up one piece: a range of raw events, or of the baseline.

use feedkit_core::trending::Trending;
use feedkit_core::{Offset, PostId, Timestamp};
use uuid::Uuid;

use super::super::connection::Session;
use super::super::failure::{Sql, damaged};
use super::super::numbers::{limited, partition_at};
use super::super::sql_time::SqlTime;
use super::super::totals::{Tables, Totals};
use super::columns::{HOUR, KIND};
use super::state::{self, Rebuild};

/// What became of the next piece.
pub(super) enum Next {
    /// It is stored. This number of rows has been summed up in all.
    Summed(u64),
    /// There is nothing left to sum up.
    Complete,
    /// No rebuild is under way: another process has finished it.
    Elsewhere,
}

/// Sums up the next piece, of about `rows` rows.
pub(super) async fn next(session: &Session, trending: &Trending, rows: usize) -> Sql<Next> {
    let limit = limited(rows.max(1));
    let Some(mut rebuild) = state::lock(session).await? else { return Ok(Next::Elsewhere) };
    let sums = match rebuild.baseline {
        None => match events(session, &mut rebuild, limit).await? {
            Some(sums) => Some(sums),
            None => baseline(session, &mut rebuild, limit).await?,
        },
        Some(_) => baseline(session, &mut rebuild, limit).await?,
    };
    let Some(sums) = sums else { return Ok(Next::Complete) };
    let mut totals = Totals::default();
    for sum in &sums {
        totals.add_sum((&sum.post, &sum.kind), sum.hour, sum.time, sum.count, trending);
    }
    totals.store(session, Tables::Rebuilt).await?;
    rebuild.store(session).await?;
    Ok(Next::Summed(rebuild.summed))
}

/// A change of a counter.
struct Sum {
    post: PostId,
    kind: String,
    hour: Timestamp,
    time: Timestamp,
    count: i64,
}

/// Reads the events of the next range of ids. `None` if there are no further events.
async fn events(session: &Session, rebuild: &mut Rebuild, limit: i64) -> Sql<Option<Vec<Sum>>> {
    let last = session
        .prepare_cached(
            "SELECT event_id FROM (SELECT event_id FROM events WHERE event_id > $1 ORDER BY event_id LIMIT $2) AS e \
             ORDER BY event_id DESC LIMIT 1",
        )
        .await?;
    let Some(row) = session.query_opt(&last, &[&rebuild.events, &limit]).await? else { return Ok(None) };
    let last: Uuid = row.get(0);
    let select = session
        .prepare_cached(&format!(
            "SELECT post_id, {KIND}, {HOUR}, time, effect::bigint, partition, \"offset\" FROM events \
             WHERE event_id > $1 AND event_id <= $2"
        ))
        .await?;
    let rows = session.query(&select, &[&rebuild.events, &last]).await?;
    rebuild.events = last;
    rebuild.summed += rows.len() as u64;
    let mut sums = Vec::with_capacity(rows.len());
    for row in &rows {
        let (kind, count): (&str, i64) = (row.get(1), row.get(4));
        let before_the_cut = (row.get::<_, i64>(6) as Offset) < rebuild.cut.of(partition_at(row, 5));
        if count != 0 && kind != "post" && before_the_cut {
            sums.push(Sum {
                post: PostId::new(row.get::<_, &str>(0)).map_err(damaged)?,
                kind: kind.to_owned(),
                hour: row.get::<_, SqlTime>(2).0,
                time: row.get::<_, SqlTime>(3).0,
                count,
            });
        }
    }
    Ok(Some(sums))
}

/// Reads the next rows of the baseline. `None` if there are no further rows. Scores follow from the
/// hour, because the likes' own times are gone.
async fn baseline(session: &Session, rebuild: &mut Rebuild, limit: i64) -> Sql<Option<Vec<Sum>>> {
    let rows = match &rebuild.baseline {
        None => {
            let first =
                "SELECT hour, post_id, kind, count FROM event_baseline ORDER BY hour, post_id, kind LIMIT $1";
            session.query(&session.prepare_cached(first).await?, &[&limit]).await?
        }
        Some((hour, post, kind)) => {
            let next = session
                .prepare_cached(
                    "SELECT hour, post_id, kind, count FROM event_baseline WHERE (hour, post_id, kind) > ($1, $2, $3) \
                     ORDER BY hour, post_id, kind LIMIT $4",
                )
                .await?;
            session.query(&next, &[&SqlTime(*hour), &post.as_str(), kind, &limit]).await?
        }
    };
    let mut sums = Vec::with_capacity(rows.len());
    for row in &rows {
        let (hour, post) = (row.get::<_, SqlTime>(0).0, PostId::new(row.get::<_, &str>(1)).map_err(damaged)?);
        sums.push(Sum { post, kind: row.get(2), hour, time: hour, count: row.get(3) });
    }
    let Some(last) = sums.last() else { return Ok(None) };
    rebuild.baseline = Some((last.hour, last.post.clone(), last.kind.clone()));
    rebuild.summed += rows.len() as u64;
    Ok(Some(sums))
}
