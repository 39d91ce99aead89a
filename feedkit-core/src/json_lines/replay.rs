//! Sends lines into a log, at full speed or at the events' own pace.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lines::number_lines;
use super::record::Origin;
use crate::sink::NewRecord;
use crate::{Error, EventSink, Positions, Result, Timestamp};

/// How many lines are read and sent at once.
const CHUNK: usize = 4_000;
/// How many chunks are read ahead of the one being sent.
const AHEAD: usize = 2;

/// How fast to send events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the log accepts them.
    Max,
    /// This many times faster than they happened. 60 sends an hour of events in a minute.
    Times(f64),
}

/// The progress of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// How many bytes of the file were sent.
    pub bytes: u64,
    /// How many lines were sent.
    pub lines: u64,
}

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// How many lines were sent.
    pub lines: u64,
    /// The end of each partition that received lines.
    pub positions: Positions,
}

/// Sends lines into a sink.
pub struct Replay {
    sink: Arc<dyn EventSink>,
    speed: Speed,
}

/// The records of some lines.
struct Chunk {
    records: Vec<(NewRecord, Timestamp)>,
    progress: Progress,
}

impl Replay {
    /// Sends into `sink` at `speed`.
    pub fn new(sink: Arc<dyn EventSink>, speed: Speed) -> Self {
        Replay { sink, speed }
    }

    /// Sends all lines of `reader`. Calls `progress` after each chunk.
    ///
    /// # Errors
    ///
    /// Fails if the reader fails, or if the sink fails with an error that will not pass. The events
    /// that were sent stay in the log. Sending the file again adds only the rest.
    ///
    /// # Cancellation
    ///
    /// `shutdown` ends the replay after the current portion. The result is then `Ok` and counts
    /// fewer lines.
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
        // A reader that waits for room in the channel ends when the channel closes.
        drop(read);
        reading
            .await
            .map_err(|e| Error::fatal(format!("the thread that reads the file ended early: {e}")))??;
        Ok(replayed)
    }

    /// Sends the records again until the sink has accepted each of them.
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
                    Err(error) if error.kind().may_pass() => {
                        trouble = Some(error);
                        again.push(record);
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = trouble {
                tracing::warn!(%error, "the log does not accept events, trying again");
                waits.sleep().await;
            }
            todo = again;
        }
        Ok(())
    }
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

/// Maps the events' time to the clock.
struct Pace {
    speed: Speed,
    /// The first event's time, and the instant it was sent.
    start: Option<(Timestamp, Instant)>,
}

impl Pace {
    /// How many of `records` are due now, but at least one.
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
