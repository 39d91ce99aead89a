//! A job of the writer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use feedkit_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::sqlite::failure::Sql;

/// A job with its result and its caller, as one type for the queue.
pub(super) trait Job: Send {
    fn weight(&self) -> usize;

    /// Runs the job. Returns false if it failed and must be rolled back.
    fn run(&mut self, connection: &Connection, path: &Path) -> bool;

    /// The job's error, if it failed.
    fn fault(&self) -> Option<&Error>;

    /// Answers the caller: with the result if the group was committed, and with `fault` if not.
    fn answer(self: Box<Self>, fault: Option<&Error>);
}

/// The only [`Job`].
pub(super) struct Task<T, F> {
    weight: usize,
    state: State<T, F>,
    reply: oneshot::Sender<Result<T>>,
}

enum State<T, F> {
    Waiting(F),
    Running,
    Done(Result<T>),
}

impl<T, F> Task<T, F> {
    /// A job that waits to run. `weight` is about how many rows it writes.
    pub(super) fn new(weight: usize, job: F, reply: oneshot::Sender<Result<T>>) -> Self {
        Task { weight, state: State::Waiting(job), reply }
    }
}

impl<T, F> Job for Task<T, F>
where
    F: FnOnce(&Connection) -> Sql<T> + Send,
    T: Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, connection: &Connection, path: &Path) -> bool {
        let State::Waiting(job) = std::mem::replace(&mut self.state, State::Running) else { return false };
        // The job may hold statements of the connection, which unwinding resets. All that it wrote
        // is rolled back.
        let result = match catch_unwind(AssertUnwindSafe(|| job(connection))) {
            Ok(result) => result.map_err(|e| e.into_error(path)),
            Err(panic) => {
                Err(Error::fatal(format!("a job on {} panicked: {}", path.display(), said(&*panic))))
            }
        };
        let ok = result.is_ok();
        self.state = State::Done(result);
        ok
    }

    fn fault(&self) -> Option<&Error> {
        match &self.state {
            State::Done(Err(error)) => Some(error),
            _ => None,
        }
    }

    fn answer(self: Box<Self>, fault: Option<&Error>) {
        let result = match (self.state, fault) {
            (State::Done(Err(own)), _) => Err(own),
            (_, Some(fault)) => Err(same(fault)),
            (State::Done(done), None) => done,
            // This cannot happen: every job of a committed group has run.
            (State::Waiting(_) | State::Running, None) => Err(Error::retriable("the job was not run")),
        };
        // The caller may be gone.
        let _ = self.reply.send(result);
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// A copy of an error, for another caller.
pub(super) fn same(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}
