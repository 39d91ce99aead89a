//! The file behind a source: seeks, reads batches, counts lines.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::lines::read_line;
use crate::source::{Batch, Gap, Record, Resume, check_resume};
use crate::{Clock, Error, Offset, Partition, Result};

/// The file's only partition.
pub(super) const PARTITION: Partition = Partition(0);
/// Maximum number of records per batch.
const MAX_RECORDS: usize = 20_000;
/// Maximum size of a batch in bytes. The line that reaches it is still included.
const MAX_BYTES: usize = 16 << 20;
/// Maximum length of a line. The rest of a longer line is skipped.
const MAX_LINE: usize = 4 << 20;

/// An open file and the number of its next line.
pub(super) struct LineFile {
    file: BufReader<File>,
    clock: Arc<dyn Clock>,
    next: Offset,
}

impl LineFile {
    /// Opens the file at the line to resume from. Checks that the file still contains what the
    /// reader knows of it.
    pub(super) fn seek(
        path: &Path,
        clock: Arc<dyn Clock>,
        log: u128,
        resume: &Resume,
    ) -> Result<Result<LineFile, Gap>> {
        let file = BufReader::with_capacity(1 << 18, open(path)?);
        let mut lines = LineFile { file, clock, next: 0 };
        let mut mark = None;
        while lines.next < resume.offset {
            let offset = lines.next;
            let Some(value) = lines.line()? else { break };
            if let Some(known) = resume.last.filter(|known| known.offset == offset) {
                // A line has no time that could be compared with the time of the mark.
                mark = Some(Record { offset, time: known.time, key: None, value }.mark());
            }
        }
        let end = if lines.at_end()? { lines.next } else { count_lines(path)? };
        Ok(check_resume(PARTITION, resume, log, 0..end, mark).map(|()| lines))
    }

    /// Reads the next batch. An empty one means the end of the file.
    pub(super) fn batch(mut self) -> Result<(LineFile, Batch)> {
        let from = self.next;
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < MAX_RECORDS && bytes < MAX_BYTES {
            let offset = self.next;
            let Some(value) = self.line()? else { break };
            bytes += value.len();
            if !value.is_empty() {
                records.push(Record { offset, time: self.clock.now(), key: None, value });
            }
        }
        let at_end = self.at_end()?;
        let batch = Batch { partition: PARTITION, from, to: self.next, at_end, records };
        Ok((self, batch))
    }

    /// The next line without its line end, or `None` at the end of the file.
    fn line(&mut self) -> Result<Option<Bytes>> {
        if self.at_end()? {
            return Ok(None);
        }
        let mut line = Vec::new();
        read_line(&mut self.file, &mut line, MAX_LINE).map_err(unreadable)?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        self.next += 1;
        Ok(Some(line.into()))
    }

    fn at_end(&mut self) -> Result<bool> {
        Ok(self.file.fill_buf().map_err(unreadable)?.is_empty())
    }
}

/// Counts the lines of the file at `path`. A last line without a newline counts too.
pub(super) fn count_lines(path: &Path) -> Result<Offset> {
    let mut file = BufReader::with_capacity(1 << 18, open(path)?);
    let (mut count, mut open_line) = (0, false);
    loop {
        let buffer = file.fill_buf().map_err(unreadable)?;
        let Some(last) = buffer.last() else { return Ok(count + Offset::from(open_line)) };
        count += buffer.iter().filter(|b| **b == b'\n').count() as Offset;
        open_line = *last != b'\n';
        let used = buffer.len();
        file.consume(used);
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::fatal(format!("cannot open {}: {e}", path.display())).with_source(e))
}

fn unreadable(error: std::io::Error) -> Error {
    Error::fatal(format!("cannot read the file: {error}")).with_source(error)
}
