//! Dropping months of raw events, and journal entries that every follower has applied.

use feedkit_core::failpoint::{self, stage};
use feedkit_core::history::{Retained, RetentionPolicy};
use feedkit_core::{Offset, Partition, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::events::{self, HOUR, KIND};
use super::failure::Sql;
use super::time_partition::TimePartition;
use super::{journal, positions};

/// Drops what `policy` no longer keeps at `now`. On an error it drops nothing.
pub(super) fn retain(connection: &Connection, policy: &RetentionPolicy, now: Timestamp) -> Sql<Retained> {
    let mut retained = Retained::default();
    let horizon = now.saturating_sub(policy.events);
    for month in events::months(connection)? {
        if month.end() <= horizon {
            retained.events += fold_into_baseline(connection, month)?;
            failpoint::reach(stage::RETENTION);
            events::drop_month(connection, month)?;
            connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('dropped_until', ?1)",
                [month.end().as_millis()],
            )?;
        }
    }
    let silent = now.saturating_sub(policy.follower_silence).as_millis();
    retained.followers = pass_over(connection, silent)?;
    let made = now.saturating_sub(policy.journal).as_millis();
    for (partition, position) in positions::all(connection)?.iter() {
        let slowest = slowest(connection, partition)?.unwrap_or(position);
        retained.journal_entries += journal::drop_before(connection, partition, slowest, made)?;
    }
    failpoint::reach(stage::RETENTION);
    Ok(retained)
}

/// Events with older ids have been dropped. A new event with such an id may be a repeat, which can
/// no longer be told.
pub(super) fn dropped_until(connection: &Connection) -> Sql<Option<Timestamp>> {
    let millis: Option<i64> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'dropped_until'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(millis.map(Timestamp::from_millis))
}

/// Adds a month's sums to the baseline, and returns how many events it had. Sums of zero are added
/// too: a post that was liked once is a post.
fn fold_into_baseline(connection: &Connection, month: TimePartition) -> Sql<u64> {
    connection.execute_batch(&format!(
        "INSERT INTO event_baseline (hour, post, kind, count) \
         SELECT {HOUR}, post, {KIND}, sum(effect) AS n FROM {month} \
         WHERE effect <> 0 AND kind <> 'post' GROUP BY 1, 2, 3 \
         ON CONFLICT DO UPDATE SET count = count + excluded.count"
    ))?;
    let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {month}"), [], |row| row.get(0))?;
    Ok(count as u64)
}

/// Removes the followers that have noted no position since `silent`, in milliseconds since 1970.
/// Returns how many there were.
fn pass_over(connection: &Connection, silent: i64) -> Sql<u64> {
    let mut select =
        connection.prepare_cached("SELECT name FROM followers GROUP BY name HAVING max(noted) < ?1")?;
    let names = select.query_map([silent], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    for name in &names {
        connection.execute("DELETE FROM followers WHERE name = ?1", [name])?;
    }
    Ok(names.len() as u64)
}

/// The position of the follower that is furthest behind. A follower that has not noted this
/// partition is at its beginning.
fn slowest(connection: &Connection, partition: Partition) -> Sql<Option<Offset>> {
    let position: Option<i64> = connection
        .prepare_cached(
            "SELECT min(coalesce(f.position, 0)) FROM (SELECT DISTINCT name FROM followers) n \
             LEFT JOIN followers f ON f.name = n.name AND f.partition = ?1",
        )?
        .query_row([partition.0], |row| row.get(0))?;
    Ok(position.map(|p| p as Offset))
}
