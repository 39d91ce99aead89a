//! The log: topics of partitions, into which records are appended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::sink::NewRecord;
use feedkit_core::{Clock, Error, EventSink, Offset, Partition, Position, Positions, Result, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use xxhash_rust::xxh3::xxh3_64;

use super::failure::Sql;
use super::group::Groups;
use super::record_batch::{self, Encoder, RecordBatch};
use super::schema;
use super::source::{SourceOptions, SqliteSource};
use super::store::State;

/// The topic that takes users' actions in.
pub const USER_ACTIONS: &str = "user-actions";
/// The topic of what people are told.
pub const NOTIFICATIONS: &str = "notifications";

/// Most bytes of a record's key and value together.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// The log of a data directory: a few topics, each of a fixed number of partitions. Clones are the same log.
#[derive(Debug, Clone)]
pub struct SqliteLog {
    shared: Arc<Shared>,
}

/// What sinks and sources of a log have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<State>,
    pub(crate) incarnation: u128,
    topics: BTreeMap<String, Arc<Topic>>,
    clock: SharedClock,
    pub(crate) groups: Groups,
}

struct SharedClock(Arc<dyn Clock>);

impl std::fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

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

impl SqliteLog {
    /// The log in `store`; makes its topics, of `partitions` partitions each, if they are not there.
    pub(crate) async fn open(store: Arc<State>, partitions: u32, clock: Arc<dyn Clock>) -> Result<SqliteLog> {
        if store.is_writer() {
            store.write(1, move |connection| make_topics(connection, partitions)).await?;
        }
        let (incarnation, topics) =
            store.read(|connection| Ok((schema::incarnation(connection)?, load_topics(connection)?))).await?;
        let topics = topics.into_iter().map(|topic| (topic.name.clone(), Arc::new(topic))).collect();
        let shared =
            Shared { store, incarnation, topics, clock: SharedClock(clock), groups: Groups::default() };
        Ok(SqliteLog { shared: Arc::new(shared) })
    }

    /// Where records of `topic` go in.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): there is no such topic.
    pub fn sink(&self, topic: &str) -> Result<SqliteSink> {
        let topic = self.shared.topic(topic)?;
        Ok(SqliteSink { log: Arc::clone(&self.shared), topic, turn: AtomicU64::new(0) })
    }

    /// Reads `topic` as a member of `group`. The members, all of them in this process, share its partitions out
    /// among themselves; a single one is assigned every partition.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): there is no such topic.
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal): this process may only read.
    pub async fn member(&self, topic: &str, group: &str, options: SourceOptions) -> Result<SqliteSource> {
        SqliteSource::member(Arc::clone(&self.shared), self.shared.topic(topic)?, group, options).await
    }

    /// Reads `topic` beside all others: each broadcast reader is assigned every partition.
    /// [`positions_at`](Self::positions_at) tells where to resume to begin at some time.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): there is no such topic.
    pub async fn broadcast(&self, topic: &str, options: SourceOptions) -> Result<SqliteSource> {
        SqliteSource::broadcast(Arc::clone(&self.shared), self.shared.topic(topic)?, options).await
    }

    /// The partitions of `topic`.
    pub fn partitions(&self, topic: &str) -> Result<u32> {
        let count = self.shared.topic(topic)?.tables.len();
        Ok(u32::try_from(count).expect("the count was stored as 32 bits"))
    }

    /// The log's incarnation: another one when the directory was made anew.
    pub fn incarnation(&self) -> u128 {
        self.shared.incarnation
    }

    /// The next offset to be written of every partition of `topic`.
    pub async fn ends(&self, topic: &str) -> Result<Positions> {
        self.shared.ends(self.shared.topic(topic)?).await
    }

    /// Of every partition the offset of the first record held that was taken in at `time` or later; where there is
    /// none, the next offset to be written.
    pub async fn positions_at(&self, topic: &str, time: Timestamp) -> Result<Positions> {
        let topic = self.shared.topic(topic)?;
        self.shared
            .store
            .read(move |connection| {
                let at = |table: &Table| Ok((table.partition, table.position_at(connection, &topic, time)?));
                topic.tables.iter().map(at).collect()
            })
            .await
    }

    /// Drops the records that lie before `positions`, and returns how many went. Their space is used again once all
    /// that was appended together with them is dropped; their offsets are not.
    pub async fn retain(&self, topic: &str, positions: &Positions) -> Result<u64> {
        let topic = self.shared.topic(topic)?;
        let mut dropped = 0;
        for place in 0..topic.tables.len() {
            let before = positions.of(topic.tables[place].partition);
            loop {
                let topic = Arc::clone(&topic);
                let job =
                    move |connection: &Connection| topic.tables[place].retain(connection, &topic, before);
                let (records, more) = self.shared.store.write(RETAIN_ROWS, job).await?;
                dropped += records;
                if !more {
                    break;
                }
            }
        }
        Ok(dropped)
    }

    /// Drops records taken in before `time`, but none at or after `read`, which somebody still has to read.
    pub async fn retain_since(&self, topic: &str, time: Timestamp, read: &Positions) -> Result<u64> {
        let young = self.positions_at(topic, time).await?;
        let before = young.iter().map(|(partition, offset)| (partition, offset.min(read.of(partition))));
        self.retain(topic, &before.collect()).await
    }
}

/// Rows dropped in one transaction: at a mebibyte each, more would keep appends waiting.
const RETAIN_ROWS: usize = 32;

impl Shared {
    fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        self.topics.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.topics.keys().map(String::as_str).collect();
            Error::invalid(format!("there is no topic {name:?}, there are {}", known.join(", ")))
        })
    }

    pub(crate) async fn ends(&self, topic: Arc<Topic>) -> Result<Positions> {
        self.store
            .read(move |connection| {
                let end = |table: &Table| Ok((table.partition, table.extent(connection, &topic)?.next));
                topic.tables.iter().map(end).collect()
            })
            .await
    }
}

/// Appends to one topic of a [`SqliteLog`].
///
/// Sends that wait at the same time are committed, and synced to the disk, together. A record's partition is the
/// XXH3 hash of its key modulo the number of partitions; records without a key go round.
#[derive(Debug)]
pub struct SqliteSink {
    log: Arc<Shared>,
    topic: Arc<Topic>,
    turn: AtomicU64,
}

#[async_trait]
impl EventSink for SqliteSink {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        let (rows, places) = self.encode(&batch);
        let written = if rows.is_empty() {
            Ok(Vec::new())
        } else {
            let topic = Arc::clone(&self.topic);
            self.log.store.write(batch.len(), move |connection| append(connection, &topic, rows)).await
        };
        let position = |place: Result<Place>| {
            let place = place?;
            match &written {
                Ok(bases) => Ok(Position {
                    partition: self.topic.tables[place.table].partition,
                    offset: bases[place.table] + place.nth + 1,
                }),
                Err(error) => Err(Error::new(error.kind(), error.to_string())),
            }
        };
        places.into_iter().map(position).collect()
    }

    async fn flush(&self) -> Result<()> {
        // The writer runs jobs in order, and answers them in order.
        self.log.store.write(0, |_| Ok(())).await
    }
}

/// Where a record goes: the how manieth of this send in its partition.
struct Place {
    table: usize,
    nth: u64,
}

/// The rows of one partition.
struct Append {
    table: usize,
    time: Timestamp,
    rows: Vec<RecordBatch>,
}

impl SqliteSink {
    /// Done by who sends, so that the writing thread need not.
    fn encode(&self, batch: &[NewRecord]) -> (Vec<Append>, Vec<Result<Place>>) {
        let time = self.log.clock.0.now();
        let mut encoders: Vec<(Encoder, u64)> = Vec::new();
        encoders.resize_with(self.topic.tables.len(), Default::default);
        let places = batch
            .iter()
            .map(|record| {
                let size = record.key.as_ref().map_or(0, |key| key.len()) + record.value.len();
                if size > MAX_RECORD_BYTES {
                    return Err(Error::invalid(format!(
                        "a record of {size} bytes is too large for the log, the most is {MAX_RECORD_BYTES}"
                    )));
                }
                let table = self.table_of(record);
                let (encoder, count) = &mut encoders[table];
                encoder.push(record, time);
                *count += 1;
                Ok(Place { table, nth: *count - 1 })
            })
            .collect();
        let appends = encoders
            .into_iter()
            .enumerate()
            .filter(|(_, (_, count))| *count > 0)
            .map(|(table, (encoder, _))| Append { table, time, rows: encoder.finish() })
            .collect();
        (appends, places)
    }

    fn table_of(&self, record: &NewRecord) -> usize {
        let number = match &record.key {
            Some(key) => xxh3_64(key),
            None => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let tables = self.topic.tables.len() as u64;
        usize::try_from(number % tables).expect("less than the number of tables")
    }
}

/// Writes the rows; returns the first offset given out, by table.
fn append(connection: &Connection, topic: &Topic, appends: Vec<Append>) -> Sql<Vec<Offset>> {
    let mut bases = vec![0; topic.tables.len()];
    for append in appends {
        let table = &topic.tables[append.table];
        let extent = table.extent(connection, topic)?;
        let time = append.time.max(extent.last_time);
        let mut next = extent.next;
        let mut insert = connection.prepare_cached(&table.insert)?;
        for row in append.rows {
            insert.execute(params![next, row.count, time.as_millis(), row.data])?;
            next += u64::from(row.count);
        }
        connection
            .prepare_cached(
                "UPDATE partitions SET next = ?3, last_time = ?4 WHERE topic = ?1 AND partition = ?2",
            )?
            .execute(params![topic.id, table.partition.0, next, time.as_millis()])?;
        bases[append.table] = extent.next;
    }
    failpoint::reach(stage::INGEST);
    Ok(bases)
}

/// What a partition holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// The first offset held.
    pub(crate) start: Offset,
    /// The next offset to be written.
    pub(crate) next: Offset,
    /// The latest time of any record so far.
    last_time: Timestamp,
}

/// A row as it lies in the table.
pub(crate) struct Row {
    pub(crate) base: Offset,
    pub(crate) count: u32,
    /// The latest time of this or any earlier record: it never goes back.
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

    /// What the partition holds now.
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

    /// Hands the rows from the one that holds `from` on to `take`, until it has enough.
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

    fn at_or_before(&self, connection: &Connection, offset: Offset) -> Sql<Option<Row>> {
        let mut select = connection.prepare_cached(&self.at_or_before)?;
        Ok(select.query_row([offset], row).optional()?)
    }

    fn position_at(&self, connection: &Connection, topic: &Topic, time: Timestamp) -> Sql<Offset> {
        let extent = self.extent(connection, topic)?;
        // Rows' times never go back: halve the offsets down to the first row that reaches `time`.
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
            // The row's first records, one of which reaches `time`, may lie before the start.
            Ok(reached.is_none())
        })?;
        Ok(found)
    }

    /// Moves the partition's start to `before` and drops some of the rows that lie wholly before it. How many
    /// records went from sight, and whether there may be more rows to drop.
    fn retain(&self, connection: &Connection, topic: &Topic, before: Offset) -> Sql<(u64, bool)> {
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

fn make_topics(connection: &Connection, partitions: u32) -> Sql<()> {
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

fn load_topics(connection: &Connection) -> Sql<Vec<Topic>> {
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
