//! Moving the rollups from one position to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedkit_core::history::JournalRead;
use feedkit_core::journal::JournalEntry;
use feedkit_core::trending::Trending;
use feedkit_core::{Error, Offset, Partition, Positions, Result};

use super::connection::Session;
use super::failure::Sql;
use super::journal;
use super::numbers::{number, partition_at};
use super::rebuild;
use super::totals::{Tables, Totals};

/// How many effects to read from the journal at a time.
const PAGE: usize = 50_000;

/// Contiguous entries of one partition.
#[derive(Default)]
pub(super) struct Run {
    pub(super) entries: Vec<Arc<JournalEntry>>,
}

impl Run {
    /// Where the entries end.
    pub(super) fn to(&self) -> Option<Offset> {
        self.entries.last().map(|entry| entry.to)
    }

    /// How many effects they have.
    pub(super) fn effects(&self) -> usize {
        self.entries.iter().map(|entry| entry.effects.len()).sum()
    }
}

/// Adds the entries after the stored positions, and returns the new positions.
pub(super) async fn store(
    session: &Session,
    runs: &BTreeMap<Partition, Run>,
    trending: &Trending,
) -> Sql<BTreeMap<Partition, Offset>> {
    let partitions: Vec<Partition> = runs.keys().copied().collect();
    let mut stored = lock(session, &partitions).await?;
    if rebuild::is_unfinished(session).await? {
        return Err(Error::gap(rebuild::UNDER_WAY).into());
    }
    let mut totals = Totals::default();
    for (partition, run) in runs {
        let position = stored.entry(*partition).or_default();
        for entry in run.entries.iter().filter(|entry| entry.to > *position).collect::<Vec<_>>() {
            if entry.from > *position {
                // Others have moved the partition, so that the entries no longer follow on its
                // position.
                let message = format!(
                    "the rollups of partition {partition} stand at {position}, the held entries begin at {}",
                    entry.from
                );
                return Err(Error::gap(message).into());
            }
            totals.add(entry.effects.iter().filter(|effect| effect.offset >= *position), trending);
            *position = entry.to;
        }
    }
    totals.store(session, Tables::Current).await?;
    advance(session, &stored).await?;
    Ok(stored)
}

/// Locks the positions of partitions, in their order.
async fn lock(session: &Session, partitions: &[Partition]) -> Sql<BTreeMap<Partition, Offset>> {
    let numbers: Vec<i32> = partitions.iter().map(|p| number(*p)).collect::<Result<_>>()?;
    let add = session
        .prepare_cached(
            "INSERT INTO rollup_positions (partition, position) SELECT unnest($1::int[]), 0 ON CONFLICT DO NOTHING",
        )
        .await?;
    session.execute(&add, &[&numbers]).await?;
    let select = session
        .prepare_cached(
            "SELECT partition, position FROM rollup_positions WHERE partition = ANY($1) ORDER BY partition FOR UPDATE",
        )
        .await?;
    let rows = session.query(&select, &[&numbers]).await?;
    Ok(rows.iter().map(|row| (partition_at(row, 0), row.get::<_, i64>(1) as Offset)).collect())
}

async fn advance(session: &Session, positions: &BTreeMap<Partition, Offset>) -> Sql<()> {
    let numbers: Vec<i32> = positions.keys().map(|p| number(*p)).collect::<Result<_>>()?;
    let offsets: Vec<i64> = positions.values().map(|offset| *offset as i64).collect();
    let update = session
        .prepare_cached(
            "UPDATE rollup_positions r SET position = n.position \
             FROM unnest($1::int[], $2::bigint[]) AS n (partition, position) WHERE r.partition = n.partition",
        )
        .await?;
    session.execute(&update, &[&numbers, &offsets]).await?;
    Ok(())
}

/// Applies all entries that the journal has for one partition, within the caller's transaction.
pub(super) async fn take_all(session: &Session, partition: Partition, trending: &Trending) -> Sql<()> {
    while take(session, partition, trending).await? {}
    Ok(())
}

/// Applies the next entries that the journal has for one partition. Returns whether there were any.
pub(super) async fn take(session: &Session, partition: Partition, trending: &Trending) -> Sql<bool> {
    let at = lock(session, &[partition]).await?.get(&partition).copied().unwrap_or_default();
    match journal::read(session, partition, at, PAGE).await? {
        JournalRead::Entries(entries) if entries.is_empty() => Ok(false),
        JournalRead::Entries(entries) => {
            store(session, &BTreeMap::from([(partition, Run { entries })]), trending).await?;
            Ok(true)
        }
        JournalRead::Expired(start) => Err(expired(partition, at, start).into()),
    }
}

/// Hands `with` the totals that the rollups lack up to `positions`, in portions, as the caller's
/// transaction sees them.
pub(super) async fn lacking(
    session: &Session,
    positions: &Positions,
    trending: &Trending,
    mut with: impl FnMut(Totals<'_>),
) -> Sql<()> {
    rebuild::refuse_meanwhile(session).await?;
    let rows = session.query("SELECT partition, position FROM rollup_positions", &[]).await?;
    let stored: Positions =
        rows.iter().map(|row| (partition_at(row, 0), row.get::<_, i64>(1) as Offset)).collect();
    for (partition, end) in positions.iter() {
        let mut at = stored.of(partition);
        while at < end {
            let entries = match journal::read(session, partition, at, PAGE).await? {
                JournalRead::Entries(entries) => entries,
                JournalRead::Expired(start) => return Err(expired(partition, at, start).into()),
            };
            let Some(last) = entries.last() else { break };
            let mut totals = Totals::default();
            for entry in &entries {
                totals.add(entry.effects.iter().filter(|effect| effect.offset >= at), trending);
            }
            with(totals);
            at = last.to;
        }
    }
    Ok(())
}

fn expired(partition: Partition, at: Offset, start: Offset) -> Error {
    Error::corrupt(format!(
        "the rollups stand at {at} of partition {partition}, the journal begins at {start}: rebuild the rollups"
    ))
}
