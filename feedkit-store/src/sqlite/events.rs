//! The raw events: one table for each month of the ids' times, so that a whole month can be
//! dropped.

use feedkit_core::effect::LoggedEvent;
use feedkit_core::{Error, Event, Partition, Timestamp};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::failure::Sql;
use super::time_partition::TimePartition;

/// The columns of every events table, and of the view over them.
const COLUMNS: &str = "id, user, post, kind, time, received, partition, offset, effect, text, attributes";

/// The start of the hour of an event's own time.
pub(super) const HOUR: &str = "time - (time % 3600000 + 3600000) % 3600000";
/// The kind of the counter that an event's effect changes.
pub(super) const KIND: &str = "CASE kind WHEN 'unlike' THEN 'like' ELSE kind END";

/// The tables of a batch's events, each with its statements.
pub(super) struct EventTables<'c> {
    tables: Vec<Table<'c>>,
    /// The table that was used last. It is mostly used next, too.
    last: usize,
}

struct Table<'c> {
    month: TimePartition,
    contains: CachedStatement<'c>,
    insert: CachedStatement<'c>,
}

impl<'c> EventTables<'c> {
    /// Makes the tables of the events' months that do not exist yet.
    pub(super) fn for_events(connection: &'c Connection, events: &[LoggedEvent]) -> Sql<Self> {
        let mut tables: Vec<Table<'c>> = Vec::new();
        let mut last: Option<TimePartition> = None;
        for logged in events {
            let time = logged.event.id.time();
            if last.is_some_and(|month| month.contains(time)) {
                continue;
            }
            let month = TimePartition::month_of(time);
            last = Some(month);
            if !tables.iter().any(|table| table.month == month) {
                create(connection, month)?;
                tables.push(Table::prepare(connection, month)?);
            }
        }
        Ok(EventTables { tables, last: 0 })
    }

    /// Whether an event with this identity is stored.
    pub(super) fn contains(&mut self, event: &Event) -> Sql<bool> {
        let key = params![&event.id.as_bytes()[..], event.user.as_str()];
        Ok(self.table(event.id.time())?.contains.exists(key)?)
    }

    /// Stores events. Fails with a constraint error if one is stored already.
    pub(super) fn insert(
        &mut self,
        partition: Partition,
        events: &[LoggedEvent],
        effective: &[bool],
    ) -> Sql<()> {
        for (LoggedEvent { offset, event }, effective) in events.iter().zip(effective) {
            let attributes = match event.attributes.is_empty() {
                true => None,
                false => {
                    Some(serde_json::to_string(&event.attributes).map_err(|e| Error::data(e.to_string()))?)
                }
            };
            // What this event adds to its counter: 1, or -1 for an unlike.
            let effect = if *effective { event.kind.delta().map_or(1, |(_, by)| by) } else { 0 };
            self.table(event.id.time())?.insert.execute(params![
                &event.id.as_bytes()[..],
                event.user.as_str(),
                event.post.as_str(),
                event.kind.as_str(),
                event.time.as_millis(),
                event.received_at.map(Timestamp::as_millis),
                partition.0,
                *offset as i64,
                effect,
                event.text,
                attributes,
            ])?;
        }
        Ok(())
    }

    fn table(&mut self, time: Timestamp) -> Sql<&mut Table<'c>> {
        if !self.tables.get(self.last).is_some_and(|table| table.month.contains(time)) {
            let found = self.tables.iter().position(|table| table.month.contains(time));
            self.last =
                found.ok_or_else(|| Error::fatal(format!("there is no table for events of {time}")))?;
        }
        Ok(&mut self.tables[self.last])
    }
}

impl<'c> Table<'c> {
    fn prepare(connection: &'c Connection, month: TimePartition) -> Sql<Self> {
        let contains = format!("SELECT 1 FROM {month} WHERE id = ?1 AND user = ?2");
        let insert =
            format!("INSERT INTO {month} ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
        Ok(Table {
            month,
            contains: connection.prepare_cached(&contains)?,
            insert: connection.prepare_cached(&insert)?,
        })
    }
}

/// The months that have a table, in order.
pub(super) fn months(connection: &Connection) -> Sql<Vec<TimePartition>> {
    let mut select = connection.prepare_cached("SELECT month FROM event_months ORDER BY month")?;
    let numbers = select.query_map([], |row| row.get(0))?.collect::<Result<Vec<i32>, _>>()?;
    Ok(numbers.into_iter().filter_map(TimePartition::numbered).collect())
}

/// The id of the newest event that is stored.
pub(super) fn newest_id(connection: &Connection) -> Sql<Option<[u8; 16]>> {
    let Some(month) = months(connection)?.pop() else { return Ok(None) };
    let select = format!("SELECT id FROM {month} ORDER BY id DESC LIMIT 1");
    Ok(connection.query_row(&select, [], |row| row.get(0)).optional()?)
}

fn create(connection: &Connection, month: TimePartition) -> Sql<()> {
    let added = connection
        .prepare_cached("INSERT OR IGNORE INTO event_months (month) VALUES (?1)")?
        .execute([month.number()])?;
    if added == 1 {
        connection.execute_batch(&format!(
            "CREATE TABLE {month} (
                id BLOB NOT NULL,           -- UUIDv7, 16 bytes
                user TEXT NOT NULL,
                post TEXT NOT NULL,
                kind TEXT NOT NULL,
                time INTEGER NOT NULL,      -- the event's own, in milliseconds since 1970
                received INTEGER,           -- by a gateway
                partition INTEGER NOT NULL,
                offset INTEGER NOT NULL,
                effect INTEGER NOT NULL,    -- what it added to its counter; 0 for none
                text TEXT,
                attributes TEXT,            -- JSON
                PRIMARY KEY (id, user)
            ) WITHOUT ROWID;
            CREATE INDEX {month}_comments ON {month} (post, time, id, user) WHERE kind = 'comment';"
        ))?;
        rebuild_view(connection)?;
    }
    Ok(())
}

/// Drops a month's table. Its sums must be in the baseline already.
pub(super) fn drop_month(connection: &Connection, month: TimePartition) -> Sql<()> {
    connection.execute("DELETE FROM event_months WHERE month = ?1", [month.number()])?;
    connection.execute_batch(&format!("DROP TABLE {month}"))?;
    rebuild_view(connection)
}

fn rebuild_view(connection: &Connection) -> Sql<()> {
    let selects: Vec<_> =
        months(connection)?.iter().map(|month| format!("SELECT {COLUMNS} FROM {month}")).collect();
    connection.execute_batch("DROP VIEW IF EXISTS events")?;
    if !selects.is_empty() {
        connection.execute_batch(&format!("CREATE VIEW events AS {}", selects.join(" UNION ALL ")))?;
    }
    Ok(())
}
