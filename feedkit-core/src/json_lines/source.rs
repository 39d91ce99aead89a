//! A file as an event source.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_128;

use super::file::{LineFile, PARTITION, count_lines};
use crate::source::{Assigned, Batch, EventSource, Gap, Resume, SourceEvent};
use crate::{Clock, Error, Partition, Positions, Result};

/// A file of JSON lines as a log with one partition. A record's offset is the number of its line,
/// from 0.
///
/// The source skips blank lines, which leave holes between the offsets. A carriage return at the
/// end of a line is not part of the record. Of a line longer than 4 MiB the source reads only the
/// first 4 MiB, which do not decode as an event. The file must not change while it is read. At its
/// end the source waits forever.
///
/// Tokio's blocking threads read the file. After the source is dropped, a thread finishes at most
/// one batch.
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
    /// Skips the lines before the offset to resume from.
    Seeking(JoinHandle<Result<Result<LineFile, Gap>>>),
    Reading(JoinHandle<Result<(LineFile, Batch)>>),
    Read(LineFile, Batch),
    Ready(LineFile),
    /// The source is at the end of the file, or after a gap, or its partition is no longer
    /// assigned.
    Stopped,
}

impl JsonLinesSource {
    /// Creates a source for the file at `path`. The time of each record is the time of `clock` when
    /// its line is read.
    ///
    /// The log's incarnation is a hash of the path as given. The same path is therefore the same
    /// log.
    pub fn new(path: impl AsRef<Path>, clock: impl Clock) -> Self {
        let path = path.as_ref().to_owned();
        let log = xxh3_128(path.to_string_lossy().as_bytes());
        JsonLinesSource { path, log, clock: Arc::new(clock), state: State::New, paused: false }
    }

    /// Sets the log's incarnation.
    pub fn with_log(mut self, log: u128) -> Self {
        self.log = log;
        self
    }
}

#[async_trait]
impl EventSource for JsonLinesSource {
    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            // The future that this loop awaits stays in the state until it is ready, so that
            // dropping the loop loses nothing.
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
                            State::Seeking(blocking(move || LineFile::seek(&path, clock, log, &resume)))
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

fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> JoinHandle<Result<T>> {
    tokio::task::spawn_blocking(work)
}

fn joined<T>(outcome: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    outcome.map_err(|e| Error::fatal("the thread that reads the file ended early").with_source(e))?
}
