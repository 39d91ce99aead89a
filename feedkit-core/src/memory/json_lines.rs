use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_128;

use crate::source::{Assigned, Batch, EventSource, Gap, Record, Resume, SourceEvent, check_resume};
use crate::{Clock, Error, Offset, Partition, Positions, Result};

/// The file's only partition.
const PARTITION: Partition = Partition(0);
/// Most records of a batch.
const MAX_RECORDS: usize = 20_000;
/// A batch ends with the line that reaches this.
const MAX_BYTES: usize = 16 << 20;
/// What goes beyond this of one line is left out.
const MAX_LINE: usize = 4 << 20;

/// A file of JSON lines, read as a log of one partition: a record's offset is its line's number, from 0.
///
/// Blank lines are passed over like holes, a carriage return at a line's end is no part of it, and of a line
/// longer than 4 MiB only so much is read (which makes it no event). The file must not change meanwhile. At its
/// end the source waits for ever.
///
/// Files are read on tokio's blocking threads. A source that is dropped leaves at most one batch being read there.
pub struct JsonLinesSource {
    path: PathBuf,
    log: u128,
    clock: Arc<dyn Clock>,
    state: State,
    paused: bool,
}

enum State {
    /// The partition has not been assigned yet.
    New,
    Awaiting(oneshot::Receiver<Resume>),
    /// The lines before the place to resume are passed over.
    Seeking(JoinHandle<Result<Result<Lines, Gap>>>),
    Reading(JoinHandle<Result<(Lines, Batch)>>),
    Read(Lines, Batch),
    Ready(Lines),
    /// At the end, at a gap, or not wanted.
    Stopped,
}

impl JsonLinesSource {
    /// The lines of the file at `path`; each bears the time that `clock` shows when it is read.
    ///
    /// The log's incarnation follows from the path as given, so that a file read again is the same log.
    pub fn new(path: impl AsRef<Path>, clock: impl Clock) -> Self {
        let path = path.as_ref().to_owned();
        let log = xxh3_128(path.to_string_lossy().as_bytes());
        JsonLinesSource { path, log, clock: Arc::new(clock), state: State::New, paused: false }
    }

    /// Names the log's incarnation.
    pub fn with_log(mut self, log: u128) -> Self {
        self.log = log;
        self
    }
}

#[async_trait]
impl EventSource for JsonLinesSource {
    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            // Whatever is awaited stays in the state until it is there, so that nothing is lost with this future.
            match &mut self.state {
                State::New => {
                    let (assigned, answer) = Assigned::new(PARTITION, self.log);
                    self.state = State::Awaiting(answer);
                    return Ok(SourceEvent::Assigned(assigned));
                }
                State::Awaiting(answer) => {
                    self.state = match Pin::new(answer).await {
                        Err(_) => State::Stopped,
                        Ok(resume) => {
                            let (path, clock, log) = (self.path.clone(), Arc::clone(&self.clock), self.log);
                            State::Seeking(blocking(move || Lines::seek(&path, clock, log, &resume)))
                        }
                    };
                }
                State::Seeking(task) => {
                    let sought = Pin::new(task).await;
                    self.state = State::Stopped;
                    match joined(sought)? {
                        Ok(lines) => self.state = State::Ready(lines),
                        Err(gap) => return Ok(SourceEvent::Gap(gap)),
                    }
                }
                State::Ready(_) => {
                    if let State::Ready(lines) = std::mem::replace(&mut self.state, State::Stopped) {
                        self.state = State::Reading(blocking(move || lines.batch()));
                    }
                }
                State::Reading(task) => {
                    let read = Pin::new(task).await;
                    self.state = State::Stopped;
                    let (lines, batch) = joined(read)?;
                    if batch.to > batch.from {
                        self.state = State::Read(lines, batch);
                    }
                }
                State::Read(..) if self.paused => std::future::pending().await,
                State::Read(..) => {
                    if let State::Read(lines, batch) = std::mem::replace(&mut self.state, State::Stopped) {
                        if !batch.at_end {
                            self.state = State::Ready(lines);
                        }
                        return Ok(SourceEvent::Batch(batch));
                    }
                }
                State::Stopped => std::future::pending().await,
            }
        }
    }

    fn pause(&mut self, partition: Partition) {
        self.paused |= partition == PARTITION && !matches!(self.state, State::New);
    }

    fn resume(&mut self, partition: Partition) {
        self.paused &= partition != PARTITION;
    }

    async fn ends(&mut self) -> Result<Positions> {
        let path = self.path.clone();
        let end = joined(blocking(move || count_lines(&path)).await)?;
        Ok(Positions::from_iter([(PARTITION, end)]))
    }

    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        Ok(partition == PARTITION && !matches!(self.state, State::New))
    }
}

/// An open file and the number of its next line.
struct Lines {
    file: BufReader<File>,
    clock: Arc<dyn Clock>,
    next: Offset,
}

impl Lines {
    /// Opens the file at the line where to resume, if it holds what the reader knows of it.
    fn seek(path: &Path, clock: Arc<dyn Clock>, log: u128, resume: &Resume) -> Result<Result<Lines, Gap>> {
        let file = BufReader::with_capacity(1 << 18, open(path)?);
        let mut lines = Lines { file, clock, next: 0 };
        let mut mark = None;
        while lines.next < resume.offset {
            let offset = lines.next;
            let Some(value) = lines.line()? else { break };
            if let Some(known) = resume.last.filter(|known| known.offset == offset) {
                // Lines have no time of their own to be recognised by.
                mark = Some(Record { offset, time: known.time, key: None, value }.mark());
            }
        }
        let end = if lines.at_end()? { lines.next } else { count_lines(path)? };
        Ok(check_resume(PARTITION, resume, log, 0..end, mark).map(|()| lines))
    }

    fn batch(mut self) -> Result<(Lines, Batch)> {
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

    /// The next line without its end; `None` at the file's end.
    fn line(&mut self) -> Result<Option<Bytes>> {
        if self.at_end()? {
            return Ok(None);
        }
        let mut line = Vec::new();
        loop {
            let buffer = self.file.fill_buf().map_err(unreadable)?;
            let (piece, used, ended) = match buffer.iter().position(|b| *b == b'\n') {
                Some(at) => (&buffer[..at], at + 1, true),
                None => (buffer, buffer.len(), buffer.is_empty()),
            };
            line.extend_from_slice(&piece[..piece.len().min(MAX_LINE - line.len())]);
            self.file.consume(used);
            if ended {
                break;
            }
        }
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

fn count_lines(path: &Path) -> Result<Offset> {
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
    Error::fatal(format!("cannot read on: {error}")).with_source(error)
}

fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> JoinHandle<Result<T>> {
    tokio::task::spawn_blocking(work)
}

fn joined<T>(outcome: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    outcome.map_err(|e| Error::fatal("reading was cut short").with_source(e))?
}
