//! Reading the journal.

use std::sync::Arc;

use feedkit_core::history::JournalRead;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Offset, Partition};
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Sql;
use super::positions;

/// Entries of `partition` from the one that contains or begins at `from` on.
pub(super) fn read(
    connection: &Connection,
    partition: Partition,
    from: Offset,
    max_effects: usize,
) -> Sql<JournalRead> {
    let mut select = connection.prepare_cached(
        "SELECT first, next, entry FROM journal WHERE partition = ?1 AND first >= ?2 ORDER BY first",
    )?;
    let start: Option<i64> = connection
        .prepare_cached("SELECT max(first) FROM journal WHERE partition = ?1 AND first <= ?2")?
        .query_row(params![partition.0, from as i64], |row| row.get(0))?;
    let mut rows = select.query(params![partition.0, start.unwrap_or(from as i64)])?;
    let (mut entries, mut effects): (Vec<Arc<JournalEntry>>, usize) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (first, next) = (row.get::<_, i64>(0)? as Offset, row.get::<_, i64>(1)? as Offset);
        if next <= from {
            continue;
        }
        let expected = entries.last().map_or(from, |entry| entry.to);
        if first > expected {
            // A gap at the beginning was dropped by retention, or accepted by an operator; one further on is read
            // up to.
            return Ok(match entries.is_empty() {
                true => JournalRead::Expired(first),
                false => JournalRead::Entries(entries),
            });
        }
        let entry =
            JournalEntry::decode(partition, first, next, row.get_ref(2)?.as_blob().map_err(not_a_blob)?)?;
        effects += entry.effects.len() + 1;
        entries.push(Arc::new(entry));
        if effects >= max_effects {
            break;
        }
    }
    if entries.is_empty() && from < positions::claimed(connection, partition)?.position {
        return Ok(JournalRead::Expired(positions::claimed(connection, partition)?.position));
    }
    Ok(JournalRead::Entries(entries))
}

fn not_a_blob(error: rusqlite::types::FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(error))
}

/// Drops the entries of `partition` that end at or before `before` and were made before `made`, in milliseconds
/// since 1970; how many.
pub(super) fn drop_before(
    connection: &Connection,
    partition: Partition,
    before: Offset,
    made: i64,
) -> Sql<u64> {
    // The newest entry stays, so that the journal's end can always be told from a gap.
    let last: Option<i64> = connection
        .query_row("SELECT max(first) FROM journal WHERE partition = ?1", [partition.0], |row| row.get(0))
        .optional()?
        .flatten();
    let dropped = connection.execute(
        "DELETE FROM journal WHERE partition = ?1 AND next <= ?2 AND at < ?3 AND first < ?4",
        params![partition.0, before as i64, made, last.unwrap_or(0)],
    )?;
    Ok(dropped as u64)
}
