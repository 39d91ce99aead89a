//! The stored state of a rebuild.

use feedkit_core::{Positions, PostId, Timestamp};
use uuid::Uuid;

use super::super::alert_json::{json, stored};
use super::super::connection::Session;
use super::super::failure::{Sql, damaged};
use super::super::sql_time::SqlTime;
use super::super::{positions, schema};

/// The rows' key: there is one rebuild at a time.
const SHARD: i32 = 0;

/// How a rebuild has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// It is stored, and goes on piece by piece.
    Pieces,
    /// An offset of a partition may stand for two events, so events cannot be told by their offsets.
    OffsetsRepeat,
}

/// A rebuild that is under way, locked by the transaction that has read it.
pub(super) struct Rebuild {
    /// Events before these positions are summed up.
    pub(super) cut: Positions,
    /// Events up to this id are summed up.
    pub(super) events: Uuid,
    /// The last key of the baseline that is summed up.
    pub(super) baseline: Option<(Timestamp, PostId, String)>,
    /// How many rows have been read.
    pub(super) summed: u64,
    incarnation: String,
    dropped_until: String,
}

/// Begins a rebuild, unless one is under way.
pub(super) async fn begin(session: &Session) -> Sql<Begun> {
    // Waits for writes of the rollups that are under way, and lets no other begin.
    session.batch_execute("LOCK TABLE rollup_positions IN EXCLUSIVE MODE").await?;
    if exists(session).await? {
        return Ok(Begun::Pieces);
    }
    let back = session.query_one("SELECT EXISTS (SELECT 1 FROM gaps WHERE went_on < position)", &[]).await?;
    if back.get::<_, bool>(0) {
        return Ok(Begun::OffsetsRepeat);
    }
    start(session).await?;
    Ok(Begun::Pieces)
}

/// Stores a rebuild that has summed up nothing yet.
async fn start(session: &Session) -> Sql<()> {
    let cut = positions::all(session).await?;
    let (incarnation, dropped_until) = sources(session).await?;
    session.batch_execute("DELETE FROM rebuilt_totals; DELETE FROM rebuilt_hourly").await?;
    session
        .execute(
            "INSERT INTO rollup_rebuild (shard, incarnation, dropped_until, cut, summed, begun) \
             VALUES ($1, $2, $3, $4, 0, now()) ON CONFLICT (shard) DO UPDATE SET \
             incarnation = excluded.incarnation, dropped_until = excluded.dropped_until, cut = excluded.cut, \
             events = NULL, baseline_hour = NULL, baseline_post = NULL, baseline_kind = NULL, \
             summed = 0, begun = excluded.begun",
            &[&SHARD, &incarnation, &dropped_until, &json(&cut)?],
        )
        .await?;
    set_positions(session, &cut).await
}

/// Makes `cut` the positions of the rollups. The journal is kept from there on.
pub(super) async fn set_positions(session: &Session, cut: &Positions) -> Sql<()> {
    let (partitions, offsets): (Vec<i32>, Vec<i64>) =
        cut.iter().map(|(partition, offset)| (partition.0 as i32, offset as i64)).unzip();
    session.execute("DELETE FROM rollup_positions", &[]).await?;
    session
        .execute(
            "INSERT INTO rollup_positions (partition, position) SELECT * FROM unnest($1::int[], $2::bigint[])",
            &[&partitions, &offsets],
        )
        .await?;
    Ok(())
}

/// Whether a rebuild is under way.
pub(super) async fn exists(session: &Session) -> Sql<bool> {
    let select = session.prepare_cached("SELECT EXISTS (SELECT 1 FROM rollup_rebuild)").await?;
    Ok(session.query_one(&select, &[]).await?.get(0))
}

/// Reads and locks the rebuild that is under way. One that no longer fits the history starts again.
pub(super) async fn lock(session: &Session) -> Sql<Option<Rebuild>> {
    let Some(rebuild) = read(session).await? else { return Ok(None) };
    let (incarnation, dropped_until) = sources(session).await?;
    let rows = session.query("SELECT partition, position FROM rollup_positions FOR UPDATE", &[]).await?;
    let at: Positions = rows
        .iter()
        .map(|row| (super::super::numbers::partition_at(row, 0), row.get::<_, i64>(1) as u64))
        .collect();
    let why = if rebuild.incarnation != incarnation {
        "the history has another incarnation"
    } else if rebuild.dropped_until != dropped_until {
        "retention has dropped raw events"
    } else if at != rebuild.cut {
        // An older release does not know that a rebuild is under way.
        "another process has changed the rollups"
    } else {
        return Ok(Some(rebuild));
    };
    tracing::warn!(why, "the rebuild of the rollups starts again");
    session.batch_execute("LOCK TABLE rollup_positions IN EXCLUSIVE MODE").await?;
    start(session).await?;
    read(session).await
}

async fn read(session: &Session) -> Sql<Option<Rebuild>> {
    let select = session
        .prepare_cached(
            "SELECT cut, events, baseline_hour, baseline_post, baseline_kind, summed, incarnation, dropped_until \
             FROM rollup_rebuild WHERE shard = $1 FOR UPDATE",
        )
        .await?;
    let Some(row) = session.query_opt(&select, &[&SHARD]).await? else { return Ok(None) };
    let baseline = match row.get::<_, Option<&str>>(3) {
        Some(post) => Some((row.get::<_, SqlTime>(2).0, PostId::new(post).map_err(damaged)?, row.get(4))),
        None => None,
    };
    Ok(Some(Rebuild {
        cut: stored(row.get(0))?,
        events: row.get::<_, Option<Uuid>>(1).unwrap_or(Uuid::nil()),
        baseline,
        summed: row.get::<_, i64>(5) as u64,
        incarnation: row.get(6),
        dropped_until: row.get(7),
    }))
}

/// What the raw events and the baseline depend on, besides commits.
async fn sources(session: &Session) -> Sql<(String, String)> {
    let incarnation = schema::meta(session, "incarnation").await?.unwrap_or_default();
    Ok((incarnation, schema::meta(session, "dropped_until").await?.unwrap_or_default()))
}

impl Rebuild {
    /// Stores how far the rebuild is.
    pub(super) async fn store(&self, session: &Session) -> Sql<()> {
        let (hour, post, kind) = match &self.baseline {
            Some((hour, post, kind)) => (Some(SqlTime(*hour)), Some(post.as_str()), Some(kind.as_str())),
            None => (None, None, None),
        };
        let update = session
            .prepare_cached(
                "UPDATE rollup_rebuild SET events = $2, baseline_hour = $3, baseline_post = $4, baseline_kind = $5, \
                 summed = $6 WHERE shard = $1",
            )
            .await?;
        let summed = self.summed as i64;
        session.execute(&update, &[&SHARD, &self.events, &hour, &post, &kind, &summed]).await?;
        Ok(())
    }

    /// Ends the rebuild.
    pub(super) async fn end(self, session: &Session) -> Sql<()> {
        session
            .batch_execute(
                "DELETE FROM rollup_rebuild; DELETE FROM rebuilt_totals; DELETE FROM rebuilt_hourly",
            )
            .await?;
        Ok(())
    }
}
