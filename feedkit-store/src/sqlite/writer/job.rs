//! A job of the writer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use feedkit_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::sqlite::failure::Sql;

/// A job, its result, and who waits for it, behind one type for the queue.
pub(super) trait Job: Send {
    fn weight(&self) -> usize;

    /// Runs the job. False: it failed, and what it wrote must be rolled back.
    fn run(&mut self, connection: &Connection, path: &Path) -> bool;

    /// The error that the job ended with.
    fn fault(&self) -> Option<&Error>;

    /// Answers who waits: with the result if the group was committed, else with `fault`.
    fn answer(self: Box<Self>, fault: Option<&Error>);
}

/// A [`Job`] with its result and who waits for it.
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
    /// A job that waits to be run; `weight` is about how many rows it writes.
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
        // What the job borrowed of the connection are statements, which unwinding resets; all it wrote is rolled
        // back.
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
            // Every job of a group that was committed has run.
            (State::Waiting(_) | State::Running, None) => Err(Error::retriable("the job was not run")),
        };
        // Who waited may be gone.
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

/// The same error for another one who waits.
pub(super) fn same(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}
