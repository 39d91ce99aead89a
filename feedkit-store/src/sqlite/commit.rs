//! The history's one transaction: position, raw events, effects, totals and journal together.

use std::sync::Arc;

use feedkit_core::effect::{Fold, LikePolicy, LoggedEvent};
use feedkit_core::history::{CommitBatch, CommitCounts, Committed};
use feedkit_core::journal::JournalEntry;
use feedkit_core::trending::Trending;
use feedkit_core::{Error, EventId};
use hashbrown::HashSet;
use rusqlite::{Connection, OptionalExtension, params};

use super::events::EventTables;
use super::failure::Sql;
use super::positions;
use super::totals::Totals;

/// How effects are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) likes: LikePolicy,
    pub(super) trending: Trending,
}

/// Which events may be kept already, and have to be looked up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Suspects {
    /// Those not newer than this id: newer ones of this partition have never been seen.
    UpTo(Option<EventId>),
    /// All of them.
    All,
}

/// Commits `batch`, whose repeats within itself (`repeats` of them) have been removed from it.
///
/// Fails with a constraint error when an event that was no suspect is kept already; everything is then rolled
/// back by the caller, to be done again with all events suspected.
pub(super) fn commit(
    connection: &Connection,
    batch: &CommitBatch,
    repeats: usize,
    suspects: Suspects,
    policy: Policy,
) -> Sql<Committed> {
    positions::advance(connection, batch)?;
    let mut tables = EventTables::for_events(connection, &batch.events)?;
    let known = known(&mut tables, &batch.events, suspects)?;
    let kept;
    let (events, duplicates) = if known.is_empty() {
        (&batch.events, repeats)
    } else {
        let fresh = |(i, event): (usize, &LoggedEvent)| (!known.contains(&i)).then(|| event.clone());
        kept = batch.events.iter().enumerate().filter_map(fresh).collect::<Vec<_>>();
        (&kept, repeats + known.len())
    };
    let effective = effects(connection, events, policy.likes)?;
    tables.insert(batch.partition, events, &effective)?;

    let changed = events.iter().zip(&effective).filter(|(_, effective)| **effective);
    let effects: Vec<_> = changed.map(|(logged, _)| logged.effect()).collect();
    Totals::of(&effects, &policy.trending).add_to(connection)?;
    reject(connection, batch)?;

    let counts = CommitCounts {
        accepted: events.len() as u64,
        duplicates: duplicates as u64,
        rejected: batch.rejected.len() as u64,
        effects: effects.len() as u64,
    };
    let CommitBatch { partition, from, to, epoch, at_end, now, .. } = *batch;
    let entry = JournalEntry { partition, from, to, epoch, at_end, effects };
    connection
        .prepare_cached("INSERT INTO journal (partition, first, next, at, entry) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![partition.0, from as i64, to as i64, now.as_millis(), entry.encode()])?;
    Ok(Committed { entry: Arc::new(entry), counts })
}

/// The places of the events that are kept already.
fn known(tables: &mut EventTables<'_>, events: &[LoggedEvent], suspects: Suspects) -> Sql<HashSet<usize>> {
    let suspect = |id: EventId| match suspects {
        Suspects::All => true,
        Suspects::UpTo(newest) => newest.is_some_and(|newest| id <= newest),
    };
    let mut known = HashSet::new();
    for (i, logged) in events.iter().enumerate() {
        if suspect(logged.event.id) && tables.contains(&logged.event)? {
            known.insert(i);
        }
    }
    Ok(known)
}

/// Writes who likes what and who published what; which events have an effect.
fn effects(connection: &Connection, events: &[LoggedEvent], likes: LikePolicy) -> Sql<Vec<bool>> {
    // One statement a pair both asks and writes: whether it changed a row tells what was there before.
    let mut like = connection.prepare_cached("INSERT OR IGNORE INTO likes (post, user) VALUES (?1, ?2)")?;
    let mut unlike = connection.prepare_cached("DELETE FROM likes WHERE post = ?1 AND user = ?2")?;
    let mut publish =
        connection.prepare_cached("INSERT OR IGNORE INTO posts (post, author, time) VALUES (?1, ?2, ?3)")?;
    Fold::new(events, likes).resolve(
        |pair| {
            let key = [pair.post.as_str(), pair.user.as_str()];
            Ok(match pair.liked_after {
                true => like.execute(key)? == 0,
                false => unlike.execute(key)? == 1,
            })
        },
        |first| {
            let event = &first.event;
            Ok(publish.execute(params![event.post.as_str(), event.user.as_str(), event.time.as_millis()])? == 1)
        },
    )
}

fn reject(connection: &Connection, batch: &CommitBatch) -> Sql<()> {
    if batch.rejected.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO rejected (partition, offset, time, reason, field, detail, value, size, hash, log) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for record in &batch.rejected {
        insert.execute(params![
            batch.partition.0,
            record.offset as i64,
            record.time.as_millis(),
            record.fault.reason.as_str(),
            record.fault.field,
            record.fault.detail,
            &record.value[..],
            record.size as i64,
            record.hash as i64,
            &batch.log.to_be_bytes()[..],
        ])?;
    }
    Ok(())
}

/// The consumer group that this history belongs to; the first that claims.
pub(super) fn belong_to(connection: &Connection, group: &str) -> Sql<()> {
    connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('group', ?1)", [group])?;
    let owner: Option<String> =
        connection.query_row("SELECT value FROM meta WHERE key = 'group'", [], |row| row.get(0)).optional()?;
    match owner {
        Some(owner) if owner != group => Err(Error::invalid(format!(
            "this history belongs to consumer group {owner:?}, not to {group:?}"
        ))
        .into()),
        _ => Ok(()),
    }
}
