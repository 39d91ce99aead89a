//! Reading batches from a topic's tables.

use feedkit_core::source::{Batch, Gap, Record, RecordMark, Resume, check_resume};
use feedkit_core::{Error, Offset};
use rusqlite::Connection;

use super::options::SourceOptions;
use super::record_batch;
use super::topic::{Table, Topic};
use crate::sqlite::failure::Sql;

/// The next event of a partition that a source yields.
#[derive(Debug)]
pub(crate) enum Ready {
    Batch(Batch),
    Gap(Gap),
}

/// The result of a check or a search, with the place of its slot.
#[derive(Debug)]
pub(crate) enum Done {
    Checked(usize, Resume, Result<(), Gap>),
    Read(usize, Ready),
    Nothing,
}

impl Ready {
    /// The offset from which it was read.
    pub(crate) fn from(&self) -> Offset {
        match self {
            Ready::Batch(batch) => batch.from,
            Ready::Gap(gap) => gap.wanted,
        }
    }
}

/// Compares the place to resume at with the log's records.
pub(crate) fn check(
    connection: &Connection,
    topic: &Topic,
    place: usize,
    resume: Resume,
    incarnation: u128,
) -> Sql<Result<(), Gap>> {
    let table = &topic.tables[place];
    let extent = table.extent(connection, topic)?;
    let mut mark = None;
    if let Some(last) = resume.last.filter(|last| (extent.start..extent.next).contains(&last.offset)) {
        mark = mark_at(connection, table, last.offset)?;
    }
    Ok(check_resume(table.partition, &resume, incarnation, extent.start..extent.next, mark))
}

fn mark_at(connection: &Connection, table: &Table, offset: Offset) -> Sql<Option<RecordMark>> {
    let mut records = Vec::new();
    table.rows(connection, offset, |base, count, data| {
        record_batch::decode(base, count, data, offset..offset + 1, &mut records)?;
        Ok(false)
    })?;
    Ok(records.first().map(Record::mark))
}

/// Reads a batch of the first partition that has one.
pub(crate) fn search(
    connection: &Connection,
    topic: &Topic,
    wanted: Vec<(usize, Offset)>,
    options: &SourceOptions,
) -> Sql<Done> {
    for (place, from) in wanted {
        let table = &topic.tables[place];
        let extent = table.extent(connection, topic)?;
        let held = extent.start..extent.next;
        let resume = Resume { offset: from, ..Resume::default() };
        if let Err(gap) = check_resume(table.partition, &resume, 0, held, None) {
            return Ok(Done::Read(place, Ready::Gap(gap)));
        }
        if from < extent.next {
            let batch = read_batch(connection, table, from, extent.next, options)?;
            return Ok(Done::Read(place, Ready::Batch(batch)));
        }
    }
    Ok(Done::Nothing)
}

fn read_batch(
    connection: &Connection,
    table: &Table,
    from: Offset,
    next: Offset,
    options: &SourceOptions,
) -> Sql<Batch> {
    let most = options.max_records.max(1);
    let limit = from.saturating_add(most as u64);
    let mut records = Vec::new();
    let mut bytes = 0;
    table.rows(connection, from, |base, count, data| {
        let expected = from + records.len() as u64;
        let end = base.saturating_add(u64::from(count));
        if base > expected || end <= expected {
            return Err(hole(table, expected, base));
        }
        let before = records.len();
        record_batch::decode(base, count, data, from..limit, &mut records)?;
        let sizes =
            records[before..].iter().map(|r| r.value.len() + r.key.as_ref().map_or(0, |key| key.len()));
        bytes += sizes.sum::<usize>();
        Ok(records.len() < most && bytes < options.max_bytes)
    })?;
    if records.is_empty() {
        return Err(hole(table, from, next).into());
    }
    let to = from + records.len() as u64;
    Ok(Batch { partition: table.partition, from, to, at_end: to == next, records })
}

/// The error of a hole: every offset between a partition's start and its end has a record.
fn hole(table: &Table, expected: Offset, found: Offset) -> Error {
    Error::corrupt(format!(
        "partition {} of the log is damaged: its records from {expected} to {found} are missing",
        table.partition
    ))
}
