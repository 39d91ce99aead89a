//! `replay`: sends files of events through the whole pipeline.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feedkit_core::history::CommitCounts;
use feedkit_core::json_lines::{Origin, Progress, Replay};
use feedkit_core::pipeline::PipelineHandle;
use feedkit_core::{Clock, Error, Positions, Result, Supervisor, SystemClock};
use feedkit_server::Signals;
use feedkit_store::sqlite::{Sqlite, USER_ACTIONS};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::assembly::{Assembly, PUBLISH_DEADLINE, none_stopped};
use crate::cli;
use crate::config::Config;
use feedkit_server::output;

/// How long events in progress may take to finish after a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// The summary of a replay.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    read: u64,
    accepted: u64,
    rejected: u64,
    duplicates: u64,
    effects: u64,
    alerts: u64,
    seconds: f64,
    events_per_second: f64,
}

/// Runs the command.
pub async fn replay(args: &cli::Replay, config: &Config) -> Result<ExitCode> {
    // Before anything is written: a wrong name must not leave a directory behind.
    for file in &args.files {
        open(file)?;
    }
    let signals = Signals::listen()?;
    let shutdown = signals.stop();
    let assembly = Assembly::open(config).await?;
    let (store, pipeline) = (assembly.store.clone(), assembly.pipeline.clone());
    let parts = assembly.parts(PUBLISH_DEADLINE, shutdown.clone());
    let outcome = Supervisor::builder().with_parts(parts).build().run_until(async {
        tokio::select! {
            outcome = run(args, &store, &pipeline, shutdown) => outcome,
            // To wait for input, or for space on a full disk, may take long.
            () = overdue(shutdown) => Ok(None),
        }
    });
    let outcome = outcome.await;
    store.close().await;
    match outcome?? {
        Some(summary) => show(&summary, args.json).map(|()| ExitCode::SUCCESS),
        None => {
            eprintln!(
                "feedkit: interrupted: the events so far are stored; run the same command again for the rest"
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn run(
    args: &cli::Replay,
    store: &Sqlite,
    pipeline: &PipelineHandle,
    shutdown: &CancellationToken,
) -> Result<Option<Summary>> {
    let bar = progress_bar(&args.files);
    // Events that an earlier run left in the log do not count for this run.
    bar.set_message("catching up with an earlier run");
    let left = store.log().ends(USER_ACTIONS).await?;
    reached(pipeline, &left).await?;
    bar.set_message("");

    let before = pipeline.status().counts;
    let alerts_before = store.alert_log().count().await?;
    let started = Instant::now();
    let (mut lines, mut positions) = (0, Positions::new());
    let mut bytes_before = 0;
    for (place, file) in args.files.iter().enumerate() {
        let reader = open(file)?;
        let name = match &args.source {
            Some(name) if place > 0 => format!("{name}#{place}"),
            Some(name) => name.clone(),
            None => source_name(file)?,
        };
        let first_seen = store.first_seen(&name, SystemClock.now()).await?;
        let replay = Replay::new(Arc::new(store.log().sink(USER_ACTIONS)?), args.speed);
        let mut last = 0;
        let show = |progress: Progress| {
            last = progress.bytes;
            bar.set_position(bytes_before + progress.bytes);
            bar.set_message(format!("{} events", lines + progress.lines));
        };
        let sending = replay.run(reader, Origin::new(&name, first_seen), show, shutdown);
        let replayed = sending.await.map_err(|e| e.context(file.display()))?;
        bytes_before += last;
        lines += replayed.lines;
        for (partition, offset) in replayed.positions.iter() {
            positions.advance(partition, offset);
        }
    }
    bar.set_message(format!("{lines} events, waiting for the followers"));
    reached(pipeline, &positions).await?;
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    if shutdown.is_cancelled() {
        return Ok(None);
    }
    let counts = pipeline.status().counts;
    let alerts = store.alert_log().count().await? - alerts_before;
    Ok(Some(summary(lines, before, counts, alerts, seconds)))
}

/// Completes some time after the signal to stop.
async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}

fn summary(read: u64, before: CommitCounts, after: CommitCounts, alerts: u64, seconds: f64) -> Summary {
    Summary {
        read,
        accepted: after.accepted - before.accepted,
        rejected: after.rejected - before.rejected,
        duplicates: after.duplicates - before.duplicates,
        effects: after.effects - before.effects,
        alerts,
        seconds,
        events_per_second: if seconds > 0.0 { read as f64 / seconds } else { 0.0 },
    }
}

fn show(summary: &Summary, json: bool) -> Result<()> {
    if json {
        return output::json(summary);
    }
    let mut table = output::table(&["", "events"]);
    table.add_row(["read", &summary.read.to_string()]);
    table.add_row(["accepted", &summary.accepted.to_string()]);
    table.add_row(["rejected", &summary.rejected.to_string()]);
    table.add_row(["duplicates", &summary.duplicates.to_string()]);
    table.add_row(["effects", &summary.effects.to_string()]);
    table.add_row(["alerts raised", &summary.alerts.to_string()]);
    output::line(&table)?;
    output::line(&format!("{:.2} s, {:.0} events/s", summary.seconds, summary.events_per_second))
}

/// Waits until the history and every follower have stored everything up to `positions`.
async fn reached(pipeline: &PipelineHandle, positions: &Positions) -> Result<()> {
    none_stopped(&pipeline.reached(positions).await?)
}

fn open(file: &Path) -> Result<Box<dyn BufRead + Send>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(1 << 18, io::stdin())));
    }
    let failed = |e: io::Error| Error::fatal(format!("{}: {e}", file.display())).with_source(e);
    let opened = File::open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.is_dir() {
        return Err(Error::fatal(format!("{} is a directory", file.display())));
    }
    Ok(Box::new(BufReader::with_capacity(1 << 18, opened)))
}

/// The name of a file as a source. It does not depend on the current directory.
fn source_name(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        return Ok("-".to_owned());
    }
    let path = std::fs::canonicalize(file)
        .map_err(|e| Error::fatal(format!("{}: {e}", file.display())).with_source(e))?;
    Ok(path.to_string_lossy().into_owned())
}

/// A progress bar over the bytes of all files, on a terminal only.
fn progress_bar(files: &[std::path::PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes: Option<Vec<u64>> =
        files.iter().map(|f| std::fs::metadata(f).ok().filter(|m| m.is_file()).map(|m| m.len())).collect();
    let (bar, template) = match sizes {
        Some(sizes) => {
            let template = "{bar:30} {bytes}/{total_bytes} {elapsed}, {eta} left  {msg}";
            (ProgressBar::new(sizes.iter().sum()), template)
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {elapsed}  {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
