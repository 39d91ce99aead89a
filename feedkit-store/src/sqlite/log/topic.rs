//! The tables of a topic, and their statements.

use feedkit_core::failpoint::{self, stage};
use feedkit_core::{Error, Offset, Partition, Result, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::record_batch::{self, RecordBatch};
use crate::sqlite::failure::Sql;

/// The topic of users' actions.
pub const USER_ACTIONS: &str = "user-actions";
/// The topic of notifications.
pub const NOTIFICATIONS: &str = "notifications";

/// Maximum number of rows to drop in one transaction. A row may have a mebibyte, and appends wait
/// for the transaction.
pub(crate) const RETAIN_ROWS: usize = 32;

/// A topic and its statements.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    id: i64,
    pub(crate) tables: Vec<Table>,
}

/// The statements of one partition's table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) partition: Partition,
    insert: String,
    read: String,
    at_or_before: String,
    drop_to: String,
}

/// The offsets of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// The offset of the first record.
    pub(crate) start: Offset,
    /// The next offset to write.
    pub(crate) next: Offset,
    /// The latest time of any record so far.
    last_time: Timestamp,
}

/// A row of the table.
struct Row {
    base: Offset,
    count: u32,
    /// The latest time of this or any earlier record. It never goes back.
    last_time: Timestamp,
}

impl Table {
    fn new(topic: i64, partition: u32) -> Table {
        let table = format!("log_{topic}_{partition}");
        Table {
            partition: Partition(partition),
            insert: format!("INSERT INTO {table} (base, count, last_time, data) VALUES (?1, ?2, ?3, ?4)"),
            read: format!(
                "SELECT base, count, data FROM {table} WHERE base >= \
                 coalesce((SELECT max(base) FROM {table} WHERE base <= ?1), ?1) ORDER BY base"
            ),
            at_or_before: format!(
                "SELECT base, count, last_time FROM {table} WHERE base <= ?1 ORDER BY base DESC LIMIT 1"
            ),
            drop_to: format!(
                "DELETE FROM {table} WHERE base IN \
                 (SELECT base FROM {table} WHERE base + count <= ?1 ORDER BY base LIMIT {RETAIN_ROWS})"
            ),
        }
    }

    /// The offsets of the partition now.
    pub(crate) fn extent(&self, connection: &Connection, topic: &Topic) -> Sql<Extent> {
        let mut select = connection.prepare_cached(
            "SELECT start, next, last_time FROM partitions WHERE topic = ?1 AND partition = ?2",
        )?;
        let extent = select.query_row(params![topic.id, self.partition.0], |row| {
            Ok(Extent {
                start: row.get(0)?,
                next: row.get(1)?,
                last_time: Timestamp::from_millis(row.get(2)?),
            })
        })?;
        Ok(extent)
    }

    /// Hands rows to `take`, from the one that contains `from`, until it has enough.
    pub(crate) fn rows(
        &self,
        connection: &Connection,
        from: Offset,
        mut take: impl FnMut(Offset, u32, &[u8]) -> Result<bool>,
    ) -> Sql<()> {
        let mut select = connection.prepare_cached(&self.read)?;
        let mut rows = select.query([from])?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            if !take(row.get(0)?, row.get(1)?, data)? {
                break;
            }
        }
        Ok(())
    }

    /// Appends the rows at `time`, and returns the first new offset.
    pub(crate) fn append(
        &self,
        connection: &Connection,
        topic: &Topic,
        time: Timestamp,
        rows: Vec<RecordBatch>,
    ) -> Sql<Offset> {
        let extent = self.extent(connection, topic)?;
        let time = time.max(extent.last_time);
        let mut next = extent.next;
        let mut insert = connection.prepare_cached(&self.insert)?;
        for row in rows {
            insert.execute(params![next, row.count, time.as_millis(), row.data])?;
            next += u64::from(row.count);
        }
        connection
            .prepare_cached(
                "UPDATE partitions SET next = ?3, last_time = ?4 WHERE topic = ?1 AND partition = ?2",
            )?
            .execute(params![topic.id, self.partition.0, next, time.as_millis()])?;
        Ok(extent.next)
    }

    fn at_or_before(&self, connection: &Connection, offset: Offset) -> Sql<Option<Row>> {
        let mut select = connection.prepare_cached(&self.at_or_before)?;
        Ok(select.query_row([offset], row).optional()?)
    }

    /// The offset of the first record that was appended at `time` or later. If there is none, the
    /// next offset to write.
    pub(crate) fn position_at(&self, connection: &Connection, topic: &Topic, time: Timestamp) -> Sql<Offset> {
        let extent = self.extent(connection, topic)?;
        // The rows' times never go back. So a binary search finds the first row that reaches
        // `time`.
        let (mut low, mut high) = (extent.start, extent.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at_or_before(connection, middle)? {
                Some(row) if row.last_time >= time => high = row.base,
                Some(row) => low = row.base + u64::from(row.count),
                None => low = middle + 1,
            }
        }
        let mut found = extent.next;
        self.rows(connection, low, |base, count, data| {
            let mut records = Vec::new();
            record_batch::decode(base, count, data, low..Offset::MAX, &mut records)?;
            let reached = records.iter().find(|record| record.time >= time);
            found = reached.map_or(found, |record| record.offset);
            // The row's first records, one of which reaches `time`, may be before the start.
            Ok(reached.is_none())
        })?;
        Ok(found)
    }

    /// Moves the partition's start to `before`, and drops some of the rows that are wholly before
    /// it. Returns how many records can no longer be read, and whether there may be more rows to
    /// drop.
    pub(crate) fn retain(&self, connection: &Connection, topic: &Topic, before: Offset) -> Sql<(u64, bool)> {
        let extent = self.extent(connection, topic)?;
        let start = before.clamp(extent.start, extent.next);
        let rows = connection.prepare_cached(&self.drop_to)?.execute([start])?;
        if start > extent.start {
            connection
                .prepare_cached("UPDATE partitions SET start = ?3 WHERE topic = ?1 AND partition = ?2")?
                .execute(params![topic.id, self.partition.0, start])?;
        }
        failpoint::reach(stage::RETENTION);
        Ok((start - extent.start, rows == RETAIN_ROWS))
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row { base: row.get(0)?, count: row.get(1)?, last_time: Timestamp::from_millis(row.get(2)?) })
}

/// Makes the topics that do not exist.
pub(crate) fn make_topics(connection: &Connection, partitions: u32) -> Sql<()> {
    for name in [USER_ACTIONS, NOTIFICATIONS] {
        let known: bool =
            connection.query_row("SELECT EXISTS (SELECT 1 FROM topics WHERE name = ?1)", [name], |row| {
                row.get(0)
            })?;
        if known {
            continue;
        }
        if partitions == 0 {
            return Err(Error::invalid("a topic needs at least one partition").into());
        }
        connection
            .execute("INSERT INTO topics (name, partitions) VALUES (?1, ?2)", params![name, partitions])?;
        let topic = connection.last_insert_rowid();
        for partition in 0..partitions {
            connection.execute(
                "INSERT INTO partitions (topic, partition, start, next, last_time) VALUES (?1, ?2, 0, 0, ?3)",
                params![topic, partition, i64::MIN],
            )?;
            connection.execute_batch(&format!(
                "CREATE TABLE log_{topic}_{partition} (
                    base INTEGER PRIMARY KEY,   -- offset of the first record
                    count INTEGER NOT NULL,
                    last_time INTEGER NOT NULL, -- the latest time of any record so far
                    data BLOB NOT NULL
                )"
            ))?;
        }
    }
    Ok(())
}

pub(crate) fn load_topics(connection: &Connection) -> Sql<Vec<Topic>> {
    let mut select = connection.prepare("SELECT topic, name, partitions FROM topics ORDER BY topic")?;
    let topics = select
        .query_map([], |row| {
            let (id, partitions) = (row.get(0)?, row.get::<_, u32>(2)?);
            let tables = (0..partitions).map(|partition| Table::new(id, partition)).collect();
            Ok(Topic { name: row.get(1)?, id, tables })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(topics)
}
