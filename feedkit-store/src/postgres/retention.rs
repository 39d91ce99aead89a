//! Dropping months of raw events, and days of the journal that every follower has applied.

use std::time::Duration;

use feedkit_core::failpoint::{self, stage};
use feedkit_core::history::{Retained, RetentionPolicy};
use feedkit_core::{Result, Timestamp};

use super::connection::Session;
use super::failure::Sql;
use super::pool::{reading, transaction};
use super::rebuild::{HOUR, KIND};
use super::shared::Handle;
use super::sql_time::SqlTime;
use super::time_partition::TimePartition;
use super::{events, positions, rebuild, rollup_positions};

/// How long dropping a table waits for its users. New users wait behind it in the meantime.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Drops what `policy` no longer keeps at `now`, each month and each day in a transaction of its
/// own. Also makes the next time partitions.
pub(super) async fn retain(store: &Handle, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
    let database = store.database();
    let mut retained = Retained::default();
    if reading!(database, session => rebuild::is_unfinished(session).await)? {
        // It reads the events that would be dropped. The next retention drops them.
        tracing::info!("the rollups are being rebuilt, so retention drops nothing now");
        database.make_ahead(now).await?;
        return Ok(retained);
    }
    let horizon = now.saturating_sub(policy.events);
    for month in reading!(database, session => events::leaves(session, "events").await)? {
        if month.end() <= horizon {
            retained.events += transaction!(database, "BEGIN", session => drop_month(session, month).await)?;
            database.forget_leaves();
        }
    }
    let silent = SqlTime(now.saturating_sub(policy.follower_silence));
    retained.followers = transaction!(database, session => pass_over(session, silent).await)?;

    // The rollups are in the same database, so they can take the entries that will be dropped.
    let trending = store.trending();
    for (partition, _) in reading!(database, session => positions::all(session).await)?.iter() {
        while transaction!(database, session => rollup_positions::take(session, partition, &trending).await)?
        {
        }
    }
    let made = now.saturating_sub(policy.journal);
    for day in reading!(database, session => events::leaves(session, "journal").await)? {
        if day.end() > made {
            break;
        }
        match transaction!(database, "BEGIN", session => drop_day(session, day).await)? {
            Some(entries) => retained.journal_entries += entries,
            None => break,
        }
        database.forget_leaves();
    }
    database.make_ahead(now).await?;
    Ok(retained)
}

/// Adds a month's sums to the baseline, drops the month, and returns how many events it had. Sums
/// of zero are added too: a post that was liked once is a post.
async fn drop_month(session: &Session, month: TimePartition) -> Sql<u64> {
    // Late events of the month wait. They will be too old.
    session.batch_execute(&format!("LOCK TABLE {month} IN SHARE MODE")).await?;
    session
        .batch_execute(&format!(
            "INSERT INTO event_baseline AS b (hour, post_id, kind, count) \
             SELECT {HOUR}, post_id, {KIND}, sum(effect) FROM {month} \
             WHERE effect <> 0 AND kind <> 'post' GROUP BY 1, 2, 3 \
             ON CONFLICT (hour, post_id, kind) DO UPDATE SET count = b.count + excluded.count"
        ))
        .await?;
    let count = session.query_one(&format!("SELECT count(*) FROM {month}"), &[]).await?.get::<_, i64>(0);
    session
        .execute(
            "INSERT INTO meta AS m (key, value) VALUES ('dropped_until', $1) ON CONFLICT (key) DO UPDATE \
             SET value = greatest(m.value::bigint, excluded.value::bigint)::text",
            &[&month.end().as_millis().to_string()],
        )
        .await?;
    failpoint::reach(stage::RETENTION);
    drop_leaf(session, "events", month).await?;
    failpoint::reach(stage::RETENTION);
    Ok(count as u64)
}

async fn drop_leaf(session: &Session, parent: &str, leaf: TimePartition) -> Sql<()> {
    session
        .batch_execute(&format!(
            "SET LOCAL lock_timeout = {}; LOCK TABLE ONLY {parent} IN ACCESS EXCLUSIVE MODE; DROP TABLE {leaf}",
            LOCK_WAIT.as_millis()
        ))
        .await?;
    Ok(())
}

/// Marks the followers that have noted no position since `silent`, and returns how many there are.
/// Nothing is kept for them until they note a position again.
async fn pass_over(session: &Session, silent: SqlTime) -> Sql<u64> {
    let row = session
        .query_one(
            "WITH marked AS (UPDATE followers SET needs_rebuild = true WHERE NOT needs_rebuild AND name IN \
               (SELECT name FROM followers GROUP BY name HAVING max(noted) < $1) RETURNING name) \
             SELECT count(DISTINCT name) FROM marked",
            &[&silent],
        )
        .await?;
    Ok(row.get::<_, i64>(0) as u64)
}

/// Drops a day of the journal if nobody needs its entries and this leaves no hole. Returns how many
/// entries it had. A follower that has not noted a partition is at its beginning.
async fn drop_day(session: &Session, day: TimePartition) -> Sql<Option<u64>> {
    session
        .batch_execute(&format!(
            "SET LOCAL lock_timeout = {}; LOCK TABLE ONLY journal IN ACCESS EXCLUSIVE MODE; \
             LOCK TABLE {day} IN ACCESS EXCLUSIVE MODE",
            LOCK_WAIT.as_millis()
        ))
        .await?;
    let needed = format!(
        "WITH day AS (SELECT partition, max(next) AS next FROM {day} GROUP BY partition), \
         slowest AS (SELECT day.partition, min(coalesce(f.position, 0)) AS position FROM day \
           CROSS JOIN (SELECT name FROM followers GROUP BY name HAVING NOT bool_and(needs_rebuild)) AS n \
           LEFT JOIN followers f ON f.name = n.name AND f.partition = day.partition GROUP BY day.partition \
           UNION ALL SELECT day.partition, coalesce(r.position, 0) FROM day \
           LEFT JOIN rollup_positions r ON r.partition = day.partition), \
         others AS (SELECT partition, min(first) AS first FROM journal WHERE tableoid <> '{day}'::regclass \
           GROUP BY partition) \
         SELECT EXISTS (SELECT 1 FROM day JOIN slowest USING (partition) WHERE slowest.position < day.next) \
             OR EXISTS (SELECT 1 FROM day JOIN others USING (partition) WHERE others.first < day.next)"
    );
    if session.query_one(&needed, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let count = session.query_one(&format!("SELECT count(*) FROM {day}"), &[]).await?.get::<_, i64>(0);
    // The journal's new beginning is stored, so that it can be told apart from damage.
    session
        .batch_execute(&format!(
            "UPDATE positions p SET journal_from = greatest(p.journal_from, d.next) \
             FROM (SELECT partition, max(next) AS next FROM {day} GROUP BY partition) AS d \
             WHERE p.partition = d.partition; DROP TABLE {day}"
        ))
        .await?;
    failpoint::reach(stage::RETENTION);
    Ok(Some(count as u64))
}
