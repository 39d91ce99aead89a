//! The log on standard error.

use std::collections::HashMap;
use std::io::BufWriter;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::Failure;

/// How long the same cause is not logged again, from whichever part of the pipeline it comes.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

crate::settings::choice! {
    /// How a line of the log looks.
    pub enum Format {
        /// For people.
        Text = "text",
        /// One JSON object a line, for programs.
        Json = "json",
    }
}

/// Maximum lines that wait to be written. Above it, lines are left out: a slow reader of standard
/// error must not stop the server.
const WAITING: usize = 16_384;

/// The log, written by its own thread. Dropping this waits until the remaining lines are written.
#[must_use = "the log ends when this is dropped"]
#[derive(Debug)]
pub struct Log {
    left_out: ErrorCounter,
    _writer: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        let lines = self.left_out.dropped_lines();
        if lines > 0 {
            tracing::warn!(lines, "standard error was too slow: log lines were left out");
        }
    }
}

/// Starts logging to standard error. `filter` selects the lines.
///
/// # Errors
///
/// If `filter` is not one. The text says how to write a filter.
pub fn start(filter: &str, format: Format) -> Result<Log, Failure> {
    let expected = || {
        let form = "error, warn, info, debug, or a filter such as `feedkit_core=debug,warn`";
        Failure::usage(format!("--log {filter}: expected {form}"))
    };
    // A single word that is not a level would be read as a module's name, and nothing would be
    // logged.
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    if filter.split(',').any(|part| !part.contains('=') && !is_level(part.trim())) {
        return Err(expected());
    }
    let filter = EnvFilter::try_new(filter).map_err(|_| expected())?;
    // A request must not wait for its line to be written: a thread writes many lines at once.
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .thread_name("feedkit-logs")
        .finish(BufWriter::with_capacity(64 << 10, std::io::stderr()));
    let log = Log { left_out: writer.error_counter(), _writer: guard };
    let registry = tracing_subscriber::registry().with(filter).with(Causes::default());
    match format {
        Format::Text => {
            registry.with(fmt::layer().with_writer(writer).with_target(false)).init();
        }
        Format::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(writer)).init();
        }
    }
    Ok(log)
}

/// Leaves out warnings whose cause was logged a moment ago: on a full disk, each partition and each
/// follower tries again, and would log a warning each time.
#[derive(Default)]
struct Causes {
    told: Mutex<HashMap<String, Instant>>,
}

impl<S: Subscriber> Layer<S> for Causes {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() != Level::WARN {
            return true;
        }
        let mut cause = Cause(None);
        event.record(&mut cause);
        cause.0.is_none_or(|cause| self.is_due(cause, Instant::now()))
    }
}

impl Causes {
    fn is_due(&self, cause: String, now: Instant) -> bool {
        let mut told = self.told.lock();
        told.retain(|_, at| now.duration_since(*at) < AGAIN_AFTER);
        let due = !told.contains_key(&cause);
        if due {
            told.insert(cause, now);
        }
        due
    }
}

/// An event's field `error`.
struct Cause(Option<String>);

impl Visit for Cause {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "error" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_again_after_a_while() {
        let causes = Causes::default();
        let start = Instant::now();
        let due = |cause: &str, at: Duration| causes.is_due(cause.to_owned(), start + at);
        assert!(due("full", Duration::ZERO));
        assert!(!due("full", AGAIN_AFTER / 2));
        assert!(due("locked", AGAIN_AFTER / 2));
        assert!(due("full", AGAIN_AFTER));
        assert!(!due("full", AGAIN_AFTER + AGAIN_AFTER / 2));
    }
}
