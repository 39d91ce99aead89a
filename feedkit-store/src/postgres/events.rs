//! The raw events, month by month: looking them up, and copying them in.

use feedkit_core::effect::LoggedEvent;
use feedkit_core::{Error, EventId, Partition, Result, Timestamp};
use futures_util::future::try_join_all;
use hashbrown::HashSet;
use tokio_postgres::Statement;
use uuid::Uuid;

use super::connection::Session;
use super::copy::{Row, copy};
use super::failure::Sql;
use super::time_partition::TimePartition;

/// The indexes of a batch's events, by month and in the order of the table's key.
pub(super) struct ByMonth(Vec<(TimePartition, Vec<u32>)>);

impl ByMonth {
    /// Sorts `events` by month and key.
    pub(super) fn of(events: &[LoggedEvent]) -> Result<ByMonth> {
        let mut order: Vec<u32> = (0..events.len() as u32).collect();
        let key = |i: &u32| (&events[*i as usize].event.id, &events[*i as usize].event.user);
        order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let mut months: Vec<(TimePartition, Vec<u32>)> = Vec::new();
        for i in order {
            let time = events[i as usize].event.id.time();
            match months.last_mut() {
                Some((leaf, of)) if leaf.contains(time) => of.push(i),
                _ => months.push((TimePartition::month_of(time)?, vec![i])),
            }
        }
        Ok(ByMonth(months))
    }

    /// The months, in order.
    pub(super) fn leaves(&self) -> impl Iterator<Item = TimePartition> + '_ {
        self.0.iter().map(|(leaf, _)| *leaf)
    }

    /// Prepares the lookups of events that may be stored already, one for each month. These are the
    /// events that are not newer than `newest`.
    pub(super) async fn lookups(
        &self,
        session: &Session,
        events: &[LoggedEvent],
        newest: Option<EventId>,
    ) -> Sql<Vec<Lookup>> {
        let mut lookups = Vec::new();
        for (leaf, of) in &self.0 {
            // The events are in order, so that the newer ones are the last.
            let older =
                of.partition_point(|i| newest.is_none_or(|newest| events[*i as usize].event.id <= newest));
            if older == 0 {
                continue;
            }
            let select = format!("SELECT event_id, user_id FROM {leaf} WHERE event_id = ANY($1)");
            let statement = session.prepare_cached(&select).await?;
            let mut ids: Vec<_> = of[..older]
                .iter()
                .map(|i| Uuid::from_bytes(*events[*i as usize].event.id.as_bytes()))
                .collect();
            ids.dedup();
            lookups.push(Lookup { statement, ids });
        }
        Ok(lookups)
    }

    /// Copies the events in. Fails with a unique violation if one is stored already.
    pub(super) async fn copy(
        &self,
        session: &Session,
        partition: Partition,
        events: &[LoggedEvent],
        effective: &[bool],
    ) -> Sql<()> {
        let mut copies = Vec::with_capacity(self.0.len());
        for (leaf, of) in &self.0 {
            let statement = format!(
                "COPY {leaf} (event_id, user_id, post_id, kind, time, received_at, partition, \"offset\", effect, \
                 text, attributes) FROM STDIN (FORMAT binary)"
            );
            copies.push(async move {
                copy(session, &statement, 11, of, |row, i| {
                    let i = *i as usize;
                    put(row, partition, &events[i], effective[i])
                })
                .await
            });
        }
        try_join_all(copies).await?;
        Ok(())
    }
}

fn put(row: &mut Row<'_>, partition: Partition, logged: &LoggedEvent, effective: bool) -> Result<()> {
    let LoggedEvent { offset, event } = logged;
    // What this event adds to its counter: 1, or -1 for an unlike.
    let effect = if effective { event.kind.delta().map_or(1, |(_, by)| by) } else { 0 };
    row.bytes(event.id.as_bytes())
        .text(event.user.as_str())
        .text(event.post.as_str())
        .text(event.kind.as_str())
        .time(event.time);
    match event.received_at {
        Some(at) => row.time(at),
        None => row.null(),
    };
    row.int4(partition.0 as i32).int8(*offset as i64).int2(effect as i16);
    match &event.text {
        Some(text) => row.text(text),
        None => row.null(),
    };
    if event.attributes.is_empty() {
        row.null();
    } else {
        let json = serde_json::to_vec(&event.attributes).map_err(|e| Error::data(e.to_string()))?;
        row.jsonb(&json);
    }
    Ok(())
}

/// A query that asks one month which of some ids it has.
pub(super) struct Lookup {
    statement: Statement,
    ids: Vec<Uuid>,
}

impl Lookup {
    async fn ask(&self, session: &Session) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        session.query(&self.statement, &[&self.ids]).await
    }
}

/// The identities that are stored.
pub(super) type Known = HashSet<(EventId, String)>;

/// Runs all lookups at once.
pub(super) async fn known(session: &Session, lookups: &[Lookup]) -> Sql<Known> {
    let asked = lookups.iter().map(|lookup| lookup.ask(session));
    let mut known = Known::new();
    for row in try_join_all(asked).await?.iter().flatten() {
        let id = EventId::from_bytes(*row.get::<_, Uuid>(0).as_bytes());
        known.insert((id.map_err(super::failure::damaged)?, row.get(1)));
    }
    Ok(known)
}

/// The id of the newest event that is stored.
pub(super) async fn newest_id(session: &Session) -> Sql<Option<EventId>> {
    let select = session.prepare_cached("SELECT event_id FROM events ORDER BY event_id DESC LIMIT 1").await?;
    let Some(row) = session.query_opt(&select, &[]).await? else { return Ok(None) };
    let id = EventId::from_bytes(*row.get::<_, Uuid>(0).as_bytes());
    Ok(Some(id.map_err(super::failure::damaged)?))
}

/// The months or days of the partitioned table `parent`, in order.
pub(super) async fn leaves(session: &Session, parent: &str) -> Sql<Vec<TimePartition>> {
    let select = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                  WHERE i.inhparent = to_regclass($1)";
    let rows = session.query(select, &[&parent]).await?;
    let mut leaves: Vec<TimePartition> =
        rows.iter().filter_map(|row| TimePartition::named(row.get::<_, &str>(0))).collect();
    leaves.sort_unstable();
    Ok(leaves)
}

/// The end of the month that was dropped last. An event with an older id may be a repeat, which can
/// no longer be told.
pub(super) fn horizon(stored: Option<String>) -> Option<Timestamp> {
    stored.and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis)
}
