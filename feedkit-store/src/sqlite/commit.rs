//! The transaction that commits a batch: position, raw events, effects, totals and journal.

use std::sync::Arc;

use feedkit_core::EventId;
use feedkit_core::backend::batch::{check_group, is_too_old, reject_too_old};
use feedkit_core::effect::{Fold, LikePolicy, LoggedEvent};
use feedkit_core::history::{CommitBatch, CommitCounts, Committed, Rejected};
use feedkit_core::journal::JournalEntry;
use hashbrown::HashSet;
use rusqlite::{Connection, OptionalExtension, params};

use super::events::{self, EventTables};
use super::failure::Sql;
use super::policy::Policy;
use super::totals::Totals;
use super::{journal, positions, retention};

/// Commits `batch`. The `repeats` events that repeated others of the batch were removed before.
///
/// Events newer than `newest` are assumed to be new. Without `newest`, the newest stored id is
/// looked up: no newer event can be stored. An event that is assumed to be new may be stored
/// already, if the log got more partitions and its user moved. Then this fails with a constraint
/// error, and the caller repeats it without `newest`. `tell` gets the totals before they are
/// stored.
pub(super) fn commit(
    connection: &Connection,
    batch: &CommitBatch,
    repeats: usize,
    newest: Option<EventId>,
    policy: Policy,
    tell: impl FnOnce(&Totals<'_>),
) -> Sql<Committed> {
    positions::advance(connection, batch)?;
    let mut too_old = Vec::new();
    let mut aged;
    let mut events = &batch.events;
    let dropped_until = retention::dropped_until(connection)?;
    if events.iter().any(|logged| is_too_old(logged, dropped_until)) {
        (too_old, aged) = events.iter().cloned().partition(|logged| is_too_old(logged, dropped_until));
        events = &aged;
    }
    // Before tables are made: that of a month without events would hide the newest id.
    let newest = match newest {
        Some(newest) => Some(newest),
        None => events::newest_id(connection)?.and_then(|id| EventId::from_bytes(id).ok()),
    };
    let mut tables = EventTables::for_events(connection, events)?;
    let known = known(&mut tables, events, newest)?;
    let duplicates = repeats + known.len();
    if !known.is_empty() {
        let fresh = |(i, event): (usize, &LoggedEvent)| (!known.contains(&i)).then(|| event.clone());
        aged = events.iter().enumerate().filter_map(fresh).collect::<Vec<_>>();
        events = &aged;
    }
    let effective = effects(connection, events, policy.likes)?;
    tables.insert(batch.partition, events, &effective)?;

    let changed = events.iter().zip(&effective).filter(|(_, effective)| **effective);
    // The vector has the exact size, because the entry stays in memory until every follower has it.
    let mut effects = Vec::with_capacity(effective.iter().filter(|effective| **effective).count());
    effects.extend(changed.map(|(logged, _)| logged.effect()));
    let totals = Totals::of(&effects, &policy.trending);
    tell(&totals);
    totals.add_to(connection)?;
    reject(connection, batch, &batch.rejected)?;
    let too_old: Vec<_> = too_old.iter().map(reject_too_old).collect();
    reject(connection, batch, &too_old)?;

    let counts = CommitCounts {
        accepted: events.len() as u64,
        duplicates: duplicates as u64,
        rejected: (batch.rejected.len() + too_old.len()) as u64,
        effects: effects.len() as u64,
    };
    let CommitBatch { partition, from, to, epoch, at_end, now, .. } = *batch;
    let entry = JournalEntry { partition, from, to, epoch, at_end, effects };
    journal::append(connection, &entry, now)?;
    Ok(Committed { entry: Arc::new(entry), counts })
}

/// The indexes of the events that are stored already. Only events not newer than `newest` can be.
fn known(
    tables: &mut EventTables<'_>,
    events: &[LoggedEvent],
    newest: Option<EventId>,
) -> Sql<HashSet<usize>> {
    let mut known = HashSet::new();
    for (i, logged) in events.iter().enumerate() {
        if newest.is_some_and(|newest| logged.event.id <= newest) && tables.contains(&logged.event)? {
            known.insert(i);
        }
    }
    Ok(known)
}

/// Writes likes and authors, and returns which events have an effect.
fn effects(connection: &Connection, events: &[LoggedEvent], likes: LikePolicy) -> Sql<Vec<bool>> {
    // One statement for each pair reads and writes: whether it changed a row tells what was stored
    // before.
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
            Ok(publish.execute(params![event.post.as_str(), event.user.as_str(), event.time.as_millis()])?
                == 1)
        },
    )
}

fn reject(connection: &Connection, batch: &CommitBatch, rejected: &[Rejected]) -> Sql<()> {
    if rejected.is_empty() {
        return Ok(());
    }
    // An offset may be stored already, if its partition went back in the same log.
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO rejected (partition, offset, time, reason, field, detail, value, size, hash, log) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for record in rejected {
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

/// Checks that the history belongs to this consumer group. It belongs to the first that claims.
pub(super) fn belong_to(connection: &Connection, group: &str) -> Sql<()> {
    connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('group', ?1)", [group])?;
    let owner: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'group'", [], |row| row.get(0))
        .optional()?;
    Ok(owner.map_or(Ok(()), |owner| check_group(&owner, group))?)
}
