//! Writing and reading the journal.

use std::sync::Arc;

use feedkit_core::history::JournalRead;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, Offset, Partition, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Sql;
use super::positions;

/// Adds the next entry of its partition, made at `now`.
pub(super) fn append(connection: &Connection, entry: &JournalEntry, now: Timestamp) -> Sql<()> {
    connection
        .prepare_cached(
            "INSERT INTO journal (partition, first, next, at, entry) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            entry.partition.0,
            entry.from as i64,
            entry.to as i64,
            now.as_millis(),
            entry.encode()
        ])?;
    Ok(())
}

/// Returns entries of `partition`, from the one that contains or begins at `from`, as many as fit
/// `max_effects`. An entry without effects counts as one effect.
pub(super) fn read(
    connection: &Connection,
    partition: Partition,
    from: Offset,
    max_effects: usize,
) -> Sql<JournalRead> {
    let position = positions::claimed(connection, partition)?.position;
    if from >= position {
        return match from == position {
            true => Ok(JournalRead::Entries(Vec::new())),
            false => Err(Error::gap(format!(
                "partition {partition} is at {position}, but its journal was asked for from {from}"
            ))
            .into()),
        };
    }
    let start: Option<i64> = connection
        .prepare_cached("SELECT max(first) FROM journal WHERE partition = ?1 AND first <= ?2")?
        .query_row(params![partition.0, from as i64], |row| row.get(0))?;
    let mut select = connection.prepare_cached(
        "SELECT first, next, entry FROM journal WHERE partition = ?1 AND first >= ?2 ORDER BY first",
    )?;
    let mut rows = select.query(params![partition.0, start.unwrap_or(from as i64)])?;
    let (mut entries, mut effects): (Vec<Arc<JournalEntry>>, usize) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (first, next) = (row.get::<_, i64>(0)? as Offset, row.get::<_, i64>(1)? as Offset);
        let expected = entries.last().map_or(from, |entry| entry.to);
        if next <= expected {
            continue;
        }
        if first > expected {
            // Retention has dropped the entries before. There are no holes after that. A damaged
            // journal, which `verify` reports, is read up to its hole.
            return Ok(match entries.is_empty() {
                true => JournalRead::Expired(first),
                false => JournalRead::Entries(entries),
            });
        }
        let entry =
            JournalEntry::decode(partition, first, next, row.get_ref(2)?.as_blob().map_err(not_a_blob)?)?;
        effects = effects.saturating_add(entry.effects.len().max(1));
        if effects > max_effects && !entries.is_empty() {
            break;
        }
        entries.push(Arc::new(entry));
        if effects >= max_effects {
            break;
        }
    }
    Ok(match entries.is_empty() {
        true => JournalRead::Expired(position),
        false => JournalRead::Entries(entries),
    })
}

fn not_a_blob(error: rusqlite::types::FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(error))
}

/// Drops entries of `partition` that end at or before `before` and were made before `made`, in
/// milliseconds since 1970, up to the first that is still needed. Returns how many it dropped.
pub(super) fn drop_before(
    connection: &Connection,
    partition: Partition,
    before: Offset,
    made: i64,
) -> Sql<u64> {
    // The newest entry is never dropped.
    let kept: Option<i64> = connection
        .query_row(
            "SELECT first FROM journal WHERE partition = ?1 AND (next > ?2 OR at >= ?3 \
             OR first = (SELECT max(first) FROM journal WHERE partition = ?1)) ORDER BY first LIMIT 1",
            params![partition.0, i64::try_from(before).unwrap_or(i64::MAX), made],
            |row| row.get(0),
        )
        .optional()?;
    let Some(kept) = kept else { return Ok(0) };
    let dropped = connection
        .execute("DELETE FROM journal WHERE partition = ?1 AND first < ?2", params![partition.0, kept])?;
    begin_at(connection, partition, kept)?;
    Ok(dropped as u64)
}

/// Drops all entries of `partition`, which continues at `position`.
pub(super) fn drop_all(connection: &Connection, partition: Partition, position: i64) -> Sql<()> {
    connection.execute("DELETE FROM journal WHERE partition = ?1", [partition.0])?;
    begin_at(connection, partition, position)
}

/// Stores where the journal begins, so that this can be told apart from damage.
fn begin_at(connection: &Connection, partition: Partition, first: i64) -> Sql<()> {
    connection.execute(
        "UPDATE positions SET journal_from = ?2 WHERE partition = ?1",
        params![partition.0, first],
    )?;
    Ok(())
}
