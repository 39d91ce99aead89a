//! Computing the totals again from the raw events and the baseline.
//!
//! A rebuild works in pieces, each in a short transaction, while commits and other followers go on.
//! It first notes the history's positions, the *cut*, and makes them the positions of the rollups. It
//! sums up the events before the cut in tables of its own, a range of ids at a time, and then
//! replaces the totals in one transaction. From the cut on, the rollups take the entries of the
//! journal, as after any restart. Each piece stores how far the rebuild is. After a crash, the next
//! process continues. Two processes take turns.

mod at_once;
mod columns;
mod pieces;
mod replace;
mod state;

use std::time::{Duration, Instant};

use feedkit_core::failpoint::{self, stage};
use feedkit_core::trending::Trending;
use feedkit_core::{Error, Result};

use super::connection::Session;
use super::database::Database;
use super::failure::Sql;
use super::pool::{reading, transaction};
use state::Begun;

pub(super) use at_once::all_sums;
pub(super) use columns::{HOUR, KIND};

/// How often to log the progress.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Replaces all totals, and sets the rollups' positions to those that the history had at the
/// beginning. Continues a rebuild that was interrupted. Sums up about `rows` rows at a time.
pub(super) async fn totals(database: &Database, trending: &Trending, rows: usize) -> Result<()> {
    if transaction!(database, session => state::begin(session).await)? == Begun::OffsetsRepeat {
        tracing::info!(
            "a partition has gone back to earlier offsets, so the rollups are rebuilt in one transaction"
        );
        return at_once::totals(database, trending).await;
    }
    let all = reading!(database, session => estimate(session).await)?;
    let mut logged = Instant::now();
    loop {
        let summed = match transaction!(database, session => pieces::next(session, trending, rows).await)? {
            pieces::Next::Summed(rows) => rows,
            pieces::Next::Complete => break,
            pieces::Next::Elsewhere => return Ok(()),
        };
        failpoint::reach(stage::REBUILD);
        if logged.elapsed() >= LOG_EVERY {
            tracing::info!(summed, of_about = all, "rebuilding the rollups");
            logged = Instant::now();
        }
    }
    tracing::info!("all events are summed up, now replacing the rollups");
    transaction!(database, "BEGIN", session => replace::replace(session).await)
}

/// Whether a rebuild is under way or was interrupted.
pub(super) async fn is_unfinished(session: &Session) -> Sql<bool> {
    state::exists(session).await
}

/// Fails if a rebuild is under way: the totals and the positions of the rollups do not belong
/// together.
pub(super) async fn refuse_meanwhile(session: &Session) -> Sql<()> {
    match is_unfinished(session).await? {
        true => Err(Error::retriable(UNDER_WAY).into()),
        false => Ok(()),
    }
}

/// Why there are no exact totals now.
pub(super) const UNDER_WAY: &str = "the rollups are being rebuilt";

/// About how many rows there are to sum up, as the last ANALYZE found.
async fn estimate(session: &Session) -> Sql<u64> {
    let rows = session
        .query_one(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class \
             WHERE oid = 'event_baseline'::regclass \
             OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass)",
            &[],
        )
        .await?;
    Ok(rows.get::<_, i64>(0) as u64)
}
