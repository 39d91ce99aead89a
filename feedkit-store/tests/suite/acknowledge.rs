//! Sends batches to the log and commits them to the history, one after another, and reports each
//! acknowledgement. [`sync`](super::sync) runs it under strace.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use feedkit_core::codec::Place;
use feedkit_core::effect::LoggedEvent;
use feedkit_core::history::CommitBatch;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::Record;
use feedkit_core::{
    Clock, Codec, Error, EventSink, History, InvalidEvent, JsonCodec, Position, Result, SystemClock,
};
use feedkit_store::sqlite::{Sqlite, SqliteOptions, USER_ACTIONS};

pub(crate) const ROUNDS: usize = 5;
const BATCH: usize = 3;

/// Works in `directory`.
pub(crate) async fn acknowledge(directory: &Path) -> Result<()> {
    let store = Sqlite::open(directory, SqliteOptions::default(), Arc::new(SystemClock)).await?;
    for round in 0..ROUNDS {
        let (values, at) = send(&store, round).await?;
        say(&format!("acknowledged log {round}"))?;
        commit(&store, values, at).await?;
        say(&format!("acknowledged state {round}"))?;
    }
    store.close().await;
    Ok(())
}

/// Sends one user's likes. Returns what it sent, and the position after that.
async fn send(store: &Sqlite, round: usize) -> Result<(Vec<Bytes>, Position)> {
    let like = |n| format!(r#"{{"userId":"u","postId":"p{round}-{n}","type":"like"}}"#);
    let values: Vec<_> = (0..BATCH).map(|n| Bytes::from(like(n))).collect();
    let records = values.iter().map(|value| NewRecord::keyed("u", value.clone())).collect();
    let sent = store.log().sink(USER_ACTIONS)?.send(records).await;
    let mut last = Err(Error::fatal("nothing was sent"));
    for outcome in sent {
        last = Ok(outcome?);
    }
    Ok((values, last?))
}

/// Commits the records that end at `at`.
async fn commit(store: &Sqlite, values: Vec<Bytes>, at: Position) -> Result<()> {
    let history = store.history();
    let claim = history.claim(at.partition, "feedkit").await?;
    let (now, place) = (SystemClock.now(), Place { log: store.log().incarnation(), partition: at.partition });
    let records: Vec<_> = (claim.position..at.offset)
        .zip(values)
        .map(|(offset, value)| Record { offset, time: now, key: None, value })
        .collect();
    let decode = |record: &Record| {
        JsonCodec::default()
            .decode(&place, record)
            .map(|event| LoggedEvent { offset: record.offset, event })
            .map_err(|fault: InvalidEvent| Error::data(fault.to_string()))
    };
    let batch = CommitBatch {
        partition: at.partition,
        epoch: claim.epoch,
        log: place.log,
        from: claim.position,
        to: at.offset,
        at_end: true,
        events: records.iter().map(decode).collect::<Result<_>>()?,
        rejected: Vec::new(),
        last: records.last().map(Record::mark),
        now,
    };
    history.commit(Arc::new(batch)).await.map(|_| ())
}

/// Writes each line with one call of write(2).
fn say(line: &str) -> Result<()> {
    let line = format!("{line}\n");
    let mut out = std::io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Error::fatal(format!("cannot write to standard output: {e}")))
}
