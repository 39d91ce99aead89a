//! Sends lines into a log, as fast as it takes them or at the events' own pace.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::line::Origin;
use super::lines::number_lines;
use crate::sink::NewRecord;
use crate::{Error, EventSink, Positions, Result, Timestamp};

/// Lines read, made into records and sent together.
const CHUNK: usize = 4_000;
/// Chunks read ahead of the one being sent.
const AHEAD: usize = 2;

/// How fast events are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the log takes them.
    Max,
    /// At so many times their own pace: 60 sends an hour's events in a minute.
    Times(f64),
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of the source sent.
    pub bytes: u64,
    /// Lines sent.
    pub lines: u64,
}

/// What a replay has sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Lines sent.
    pub lines: u64,
    /// Where the log stands after them, of the partitions that got any.
    pub positions: Positions,
}

/// Sends lines into a sink.
pub struct Replay {
    sink: Arc<dyn EventSink>,
    speed: Speed,
}

/// Records made of some lines.
struct Chunk {
    records: Vec<(NewRecord, Timestamp)>,
    progress: Progress,
}

impl Replay {
    /// Sends into `sink` at `speed`.
    pub fn new(sink: Arc<dyn EventSink>, speed: Speed) -> Self {
        Replay { sink, speed }
    }

    /// Sends all of `reader`'s lines. `progress` is told after each portion.
    ///
    /// # Errors
    ///
    /// When the reader fails, or the sink does so for good; what was sent stays sent, and sending the source again
    /// adds only the rest.
    ///
    /// # Cancellation
    ///
    /// `shutdown` ends it after the portion under way, as an error-free result of fewer lines.
    pub async fn run(
        &self,
        reader: Box<dyn BufRead + Send>,
        origin: Origin,
        mut progress: impl FnMut(Progress) + Send,
        shutdown: &CancellationToken,
    ) -> Result<Replayed> {
        let (chunks, mut read) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || read_chunks(reader, origin, &chunks));
        let mut replayed = Replayed::default();
        let mut pace = Pace { speed: self.speed, start: None };
        while let Some(chunk) = read.recv().await {
            let mut rest = chunk.records;
            while !rest.is_empty() && !shutdown.is_cancelled() {
                let due = pace.due(&rest);
                let later = rest.split_off(due);
                let records: Vec<_> = rest.into_iter().map(|(record, _)| record).collect();
                replayed.lines += records.len() as u64;
                self.send(records, &mut replayed.positions).await?;
                rest = later;
                if let Some((_, next)) = rest.first() {
                    tokio::select! {
                        () = pace.wait_for(*next) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
            progress(chunk.progress);
            if shutdown.is_cancelled() {
                break;
            }
        }
        // A reader that waits for room ends when the channel does.
        drop(read);
        reading.await.map_err(|e| Error::fatal(format!("reading failed: {e}")))??;
        Ok(replayed)
    }

    /// Sends until every record is taken.
    async fn send(&self, records: Vec<NewRecord>, positions: &mut Positions) -> Result<()> {
        let mut waits = crate::pipeline::Backoff::default().waits();
        let mut todo = records;
        while !todo.is_empty() {
            let outcomes = self.sink.send(todo.clone()).await;
            let mut again = Vec::new();
            let mut trouble = None;
            for (record, outcome) in todo.into_iter().zip(outcomes) {
                match outcome {
                    Ok(at) => positions.advance(at.partition, at.offset),
                    Err(error) if may_pass(&error) => {
                        trouble = Some(error);
                        again.push(record);
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = trouble {
                tracing::warn!(%error, "the log does not take events, trying again");
                waits.sleep().await;
            }
            todo = again;
        }
        Ok(())
    }
}

/// Events bear ids, so sending one again is safe.
fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), crate::ErrorKind::Retriable | crate::ErrorKind::Uncertain)
}

fn read_chunks(
    mut reader: Box<dyn BufRead + Send>,
    mut origin: Origin,
    chunks: &mpsc::Sender<Chunk>,
) -> Result<()> {
    let (mut next, mut progress) = (0, Progress::default());
    loop {
        let (lines, bytes) = number_lines(&mut *reader, &mut next, CHUNK)
            .map_err(|e| Error::fatal(format!("line {}: {e}", next + 1)).with_source(e))?;
        if bytes == 0 {
            return Ok(());
        }
        progress.bytes += bytes;
        progress.lines += lines.len() as u64;
        let records = lines.iter().map(|line| origin.record(line)).collect();
        if chunks.blocking_send(Chunk { records, progress }).is_err() {
            return Ok(());
        }
    }
}

/// Ties the events' time to the clock on the wall.
struct Pace {
    speed: Speed,
    /// The first event's time, and when it was sent.
    start: Option<(Timestamp, Instant)>,
}

impl Pace {
    /// How many of `records` are due now; at least one.
    fn due(&mut self, records: &[(NewRecord, Timestamp)]) -> usize {
        let Some((_, first)) = records.first() else { return 0 };
        let now = Instant::now();
        let (origin, started) = *self.start.get_or_insert((*first, now));
        match self.speed {
            Speed::Max => records.len(),
            Speed::Times(factor) => {
                let passed = now.duration_since(started).as_secs_f64() * factor;
                let due = |time: &Timestamp| time.since(origin).as_secs_f64() <= passed;
                records.iter().take_while(|(_, time)| due(time)).count().max(1)
            }
        }
    }

    async fn wait_for(&self, time: Timestamp) {
        let (Some((origin, started)), Speed::Times(factor)) = (self.start, self.speed) else { return };
        let after = time.since(origin).as_secs_f64() / factor.max(1e-9);
        let after = Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX);
        if let Some(at) = started.checked_add(after) {
            tokio::time::sleep_until(at).await;
        }
    }
}
