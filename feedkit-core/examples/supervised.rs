//! A pipeline and an own part under a supervisor. Everything is kept in memory.
//!
//! `cargo run -p feedkit-core --example supervised`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::memory::{MemoryHistory, MemoryLog};
use feedkit_core::pipeline::PipelineHandle;
use feedkit_core::sink::NewRecord;
use feedkit_core::supervisor::{Part, PartState, SupervisorBuilder};
use feedkit_core::{Error, EventSink, Pipeline, Positions, Result, Supervisor, SystemClock};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // It runs until all events are counted.
    let log = MemoryLog::new(4, SystemClock);
    let (pipeline, supervisor) = parts(&log);
    let counted = supervisor.build().run_until(async {
        let sent = send(&log).await?;
        pipeline.reached(&sent).await
    });
    let status = counted.await??;
    assert_eq!(status.counts.accepted, 10);
    println!("counted {} likes", status.counts.accepted);

    // It runs until a part fails. The pipeline is stopped in good order, and the error names the
    // part.
    let (pipeline, supervisor) = parts(&log);
    let supervisor =
        supervisor.part("exporter", |_stop| async { Err(Error::fatal("the disk is full")) }).build();
    let handle = supervisor.handle();
    let Err(failed) = supervisor.run(CancellationToken::new()).await else {
        return Err(Error::fatal("the exporter did not fail"));
    };
    assert_eq!(failed.part(), "exporter");
    assert!(matches!(handle.state("exporter"), Some(PartState::Failed { .. })));
    assert!(pipeline.status().ended);
    println!("stopped at {} by {failed}", failed.first().since);
    Ok(())
}

// [parts]
/// The pipeline, and a part that prints its progress.
fn parts(log: &MemoryLog) -> (PipelineHandle, SupervisorBuilder) {
    let pipeline = Pipeline::builder(log.reader("feedkit"), Arc::new(MemoryHistory::new())).build();
    let handle = pipeline.handle();
    let supervisor = Supervisor::builder()
        .with_part(Part::new("pipeline", |stop| pipeline.run(stop)).deadline(Duration::from_secs(20)))
        .part("progress", {
            let pipeline = handle.clone();
            |stop| progress(pipeline, stop)
        });
    (handle, supervisor)
}

/// Prints how many events are committed, each time their number changes.
async fn progress(mut pipeline: PipelineHandle, stop: CancellationToken) -> Result<()> {
    loop {
        println!("{} events are committed", pipeline.status().positions().total());
        tokio::select! {
            true = pipeline.changed() => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}
// [/parts]

/// Sends ten likes. Returns where they lie.
async fn send(log: &MemoryLog) -> Result<Positions> {
    let like = |user| {
        NewRecord::keyed(
            format!("u{user}"),
            format!(r#"{{"userId":"u{user}","postId":"p9","type":"like"}}"#).into(),
        )
    };
    let mut sent = Positions::new();
    for outcome in log.send((0..10).map(like).collect()).await {
        let position = outcome?;
        sent.advance(position.partition, position.offset);
    }
    Ok(sent)
}
