//! Writing and reading the journal.

use std::sync::Arc;

use feedkit_core::history::JournalRead;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, Offset, Partition, Timestamp};

use super::connection::Session;
use super::failure::Sql;
use super::numbers::number;
use super::positions;
use super::sql_time::SqlTime;

/// Maximum number of entries to read at a time.
const PAGE: i64 = 64;

/// Adds the next entry of its partition, made at `now`. The time partition of that day must exist.
pub(super) async fn append(session: &Session, entry: &JournalEntry, now: Timestamp) -> Sql<()> {
    let insert = session
        .prepare_cached("INSERT INTO journal (partition, first, next, at, entry) VALUES ($1, $2, $3, $4, $5)")
        .await?;
    let (first, next) = (entry.from as i64, entry.to as i64);
    session
        .execute(&insert, &[&number(entry.partition)?, &first, &next, &SqlTime(now), &entry.encode()])
        .await?;
    Ok(())
}

/// Returns entries of `partition`, from the one that contains or begins at `from`, as many as fit
/// `max_effects`. An entry without effects counts as one effect.
///
/// It may or may not see what is committed in the meantime. It always sees the entries before that,
/// because each commit follows on the one before.
pub(super) async fn read(
    session: &Session,
    partition: Partition,
    from: Offset,
    max_effects: usize,
) -> Sql<JournalRead> {
    let position = positions::claimed(session, partition).await?.position;
    if from >= position {
        return match from == position {
            true => Ok(JournalRead::Entries(Vec::new())),
            false => Err(Error::gap(format!(
                "partition {partition} is at {position}, but its journal was asked for from {from}"
            ))
            .into()),
        };
    }
    let p = number(partition)?;
    let select = session
        .prepare_cached(
            "SELECT first, next, entry FROM journal WHERE partition = $1 AND first >= \
             coalesce((SELECT max(first) FROM journal WHERE partition = $1 AND first <= $2), $2) \
             ORDER BY first LIMIT $3",
        )
        .await?;
    let (mut entries, mut effects): (Vec<Arc<JournalEntry>>, usize) = (Vec::new(), 0);
    // Most readers take few entries, so the first page is small.
    let (mut next_from, mut limit) = (from, 4);
    'pages: loop {
        let rows = session.query(&select, &[&p, &(next_from as i64), &limit]).await?;
        for row in &rows {
            let (first, next) = (row.get::<_, i64>(0) as Offset, row.get::<_, i64>(1) as Offset);
            let expected = entries.last().map_or(from, |entry| entry.to);
            if next <= expected {
                continue;
            }
            if first > expected {
                // Retention has dropped the entries before. There are no holes after that. A
                // damaged journal, which `verify` reports, is read up to its hole.
                return Ok(match entries.is_empty() {
                    true => JournalRead::Expired(first),
                    false => JournalRead::Entries(entries),
                });
            }
            let entry = JournalEntry::decode(partition, first, next, row.get(2))?;
            effects = effects.saturating_add(entry.effects.len().max(1));
            if effects > max_effects && !entries.is_empty() {
                break 'pages;
            }
            next_from = next;
            entries.push(Arc::new(entry));
            if effects >= max_effects {
                break 'pages;
            }
        }
        if (rows.len() as i64) < limit || next_from >= position {
            break;
        }
        limit = PAGE;
    }
    Ok(match entries.is_empty() {
        true => JournalRead::Expired(position),
        false => JournalRead::Entries(entries),
    })
}
