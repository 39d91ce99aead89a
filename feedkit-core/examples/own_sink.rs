//! Your own sink: it writes events to a file of JSON lines, and syncs the file before it
//! acknowledges them. The pipeline then reads that file.
//!
//! `cargo run -p feedkit-core --example own_sink`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::json_lines::JsonLinesSource;
use feedkit_core::memory::MemoryHistory;
use feedkit_core::sink::NewRecord;
use feedkit_core::{
    Error, EventSink, Partition, Pipeline, Position, Positions, PostId, Queries, Result, SystemClock,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

// [sink]
/// Appends each record as one line. There is one partition, so equal keys share it. The offset of a
/// record is the number of its line, from 0.
struct JsonLinesSink(Arc<Mutex<Lines>>);

struct Lines {
    file: File,
    bytes: u64,
    next: u64,
}

#[async_trait]
impl EventSink for JsonLinesSink {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        let (lines, count) = (Arc::clone(&self.0), batch.len());
        // The disk is slow, so use a blocking thread. It finishes even if this future is dropped.
        let written = tokio::task::spawn_blocking(move || lines.lock().append(&batch));
        written.await.unwrap_or_else(|e| (0..count).map(|_| Err(Error::uncertain(e.to_string()))).collect())
    }

    async fn flush(&self) -> Result<()> {
        Ok(()) // `send` holds nothing back.
    }
}
// [/sink]

// [append]
impl Lines {
    /// One write and one sync for the whole batch; one outcome for each record.
    fn append(&mut self, batch: &[NewRecord]) -> Vec<Result<Position>> {
        let (mut bytes, mut next) = (Vec::new(), self.next);
        let mut outcomes = Vec::with_capacity(batch.len());
        for record in batch {
            outcomes.push(if record.value.is_empty() || record.value.contains(&b'\n') {
                Err(Error::invalid("a record has to be one line"))
            } else {
                bytes.extend_from_slice(&record.value);
                bytes.push(b'\n');
                next += 1;
                Ok(Position { partition: Partition(0), offset: next })
            });
        }
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.sync_data()) {
            // Cut off a partial line. If that works, nothing was stored. If not, nobody knows.
            let undone = self.file.set_len(self.bytes).and_then(|()| self.file.sync_data()).is_ok();
            let kind = if undone { Error::retriable } else { Error::uncertain };
            return batch.iter().map(|_| Err(kind(error.to_string()))).collect();
        }
        (self.bytes, self.next) = (self.bytes + bytes.len() as u64, next);
        outcomes
    }
}
// [/append]

impl JsonLinesSink {
    /// Opens the file, and cuts off a line that a crash has left unfinished. It was never
    /// acknowledged.
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut held = Vec::new();
        file.read_to_end(&mut held)?;
        let whole = held.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let next = held[..whole].iter().filter(|b| **b == b'\n').count() as u64;
        Ok(JsonLinesSink(Arc::new(Mutex::new(Lines { file, bytes: whole as u64, next }))))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("actions.jsonl");
    std::fs::write(&path, "{\"userId\":\"u0\",\"postI")?; // A crash may leave this.
    let sink = JsonLinesSink::open(&path)?;

    let like = |user: &str| format!(r#"{{"userId":"{user}","postId":"p9","type":"like"}}"#);
    let batch = ["u1", "u2", "u1\n"].map(|user| NewRecord::keyed(user, like(user).into()));
    let outcomes = sink.send(batch.to_vec()).await;
    for outcome in &outcomes {
        match outcome {
            Ok(position) => println!("acknowledged, next to read is {position}"),
            Err(error) => println!("{:?}: {error}", error.kind()),
        }
    }
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok() && outcomes[2].is_err());

    let history = Arc::new(MemoryHistory::new());
    let pipeline = Pipeline::builder(JsonLinesSource::new(&path, SystemClock), history.clone()).build();
    let (handle, shutdown) = (pipeline.handle(), CancellationToken::new());
    let running = tokio::spawn(pipeline.run(shutdown.clone()));
    handle.reached(&Positions::from_iter([(Partition(0), 2)])).await?;
    let post = history.post(&PostId::new("p9")?).await?;
    println!("p9 has {} likes", post.as_ref().map_or(0, |p| p.likes));
    assert_eq!(post.map(|p| p.likes), Some(2));
    shutdown.cancel();
    Ok(running.await??)
}
