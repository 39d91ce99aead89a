//! Running the parts, and stopping them in order.

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::failure::{Cause, Failure, PartFailed};
use super::part::{Part, Ready};
use super::status::{PartState, PartStatus, SupervisorHandle};
use crate::{Clock, Result};

/// How long a part may take to stop when the time for all parts is over already.
const LAST: Duration = Duration::from_millis(100);

/// Stands for a time that does not come.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Runs parts together until it is told to stop, or one of them fails.
///
/// # Contract
///
/// - Each part runs as a task of its own. A part fails if it returns an error, returns before it is
///   asked to stop, panics, or does not stop in time.
/// - When a part fails, the supervisor stops all others. It stops parts one after another, in the
///   order in which they were added: it asks the next one only when the one before has ended.
/// - A part that does not stop by its [deadline](Part::deadline), or by the time for [all
///   parts](super::SupervisorBuilder::drain), is aborted. The supervisor then goes on with the next
///   one.
/// - No task is left when a run has returned. A part that blocks its thread can be neither stopped
///   nor aborted; the supervisor waits for it.
pub struct Supervisor {
    pub(super) parts: Vec<Part>,
    pub(super) drain: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) status: watch::Sender<Vec<PartStatus>>,
}

impl Supervisor {
    /// A view of the parts' states, to be kept while they run.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle { status: self.status.subscribe() }
    }

    /// Runs all parts until `shutdown` is cancelled, and stops them.
    ///
    /// # Errors
    ///
    /// When a part failed, before the shutdown or in it. The error names the part that failed
    /// first, and keeps the failures that came later.
    ///
    /// # Cancellation
    ///
    /// Dropping the future aborts all parts, as a crash would.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), PartFailed> {
        self.run_until(shutdown.cancelled_owned()).await
    }

    /// Runs all parts until `end` is ready, stops them, and returns what `end` returned.
    ///
    /// If a part fails first, `end` is dropped.
    ///
    /// # Errors
    ///
    /// As those of [`run`](Supervisor::run). A part's failure counts for more than the output of
    /// `end`.
    ///
    /// # Cancellation
    ///
    /// As that of [`run`](Supervisor::run).
    pub async fn run_until<T>(self, end: impl Future<Output = T>) -> Result<T, PartFailed> {
        let drain = self.drain;
        let mut running = Running::start(self);
        let output = {
            let end = pin!(end);
            tokio::select! {
                biased;
                () = running.failed() => None,
                output = end => Some(output),
            }
        };
        running.stop(drain).await;
        match (PartFailed::of(std::mem::take(&mut running.failures)), output) {
            (None, Some(output)) => Ok(output),
            (Some(failed), _) => Err(failed),
            (None, None) => unreachable!("only a failure ends a run before `end`"),
        }
    }
}

/// The parts at work.
struct Running {
    tasks: JoinSet<Result<()>>,
    parts: Vec<Member>,
    failures: Vec<Failure>,
    clock: Arc<dyn Clock>,
    status: watch::Sender<Vec<PartStatus>>,
}

struct Member {
    name: String,
    stop: CancellationToken,
    task: AbortHandle,
    deadline: Option<Duration>,
    ready: Option<Ready>,
    has_ended: bool,
}

impl Running {
    fn start(supervisor: Supervisor) -> Self {
        let Supervisor { parts, clock, status, .. } = supervisor;
        let mut tasks = JoinSet::new();
        let parts = parts.into_iter().map(|Part { name, run, deadline, ready }| {
            let stop = CancellationToken::new();
            let token = stop.clone();
            // The function is called in the task: it may panic too.
            let task = tasks.spawn(async move { run(token).await });
            Member { name, stop, task, deadline, ready, has_ended: false }
        });
        let parts = parts.collect();
        status.send_modify(|all| all.iter_mut().for_each(|part| part.state = PartState::Running));
        Running { tasks, parts, failures: Vec::new(), clock, status }
    }

    /// Waits until a part has failed. Cancel-safe.
    async fn failed(&mut self) {
        while self.failures.is_empty() {
            match self.tasks.join_next_with_id().await {
                Some(ended) => self.note(ended),
                None => std::future::pending().await,
            }
        }
    }

    /// Stops the parts one after another.
    async fn stop(&mut self, drain: Duration) {
        let end = after(drain);
        for place in 0..self.parts.len() {
            self.wait_until_ready(place, end).await;
            let part = &self.parts[place];
            if part.has_ended {
                continue;
            }
            part.stop.cancel();
            self.show(place, PartState::Stopping);
            let asked = Instant::now();
            let own = self.parts[place].deadline.map_or(end, after);
            let deadline = own.min(end).max(asked + LAST.min(drain));
            if timeout_at(deadline, self.ended(place)).await.is_err() {
                self.parts[place].task.abort();
                self.fail(place, Cause::Overdue(deadline - asked));
                self.ended(place).await;
            }
        }
    }

    /// Waits for what the part is not to be stopped before.
    async fn wait_until_ready(&mut self, place: usize, end: Instant) {
        let Some(Ready { condition, within }) = self.parts[place].ready.take() else { return };
        let waited = tokio::select! {
            biased;
            () = self.failed() => return,
            waited = timeout_at(after(within).min(end), condition) => waited,
        };
        let part = &self.parts[place].name;
        match waited {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(part, %error, "the part is stopped without waiting any longer"),
            Err(_) => tracing::warn!(part, "the part is stopped before the work that it waits for is done"),
        }
    }

    /// Waits until this part has ended. Cancel-safe.
    async fn ended(&mut self, place: usize) {
        while !self.parts[place].has_ended {
            match self.tasks.join_next_with_id().await {
                Some(ended) => self.note(ended),
                None => return,
            }
        }
    }

    /// Notes how a part ended.
    fn note(&mut self, ended: Result<(Id, Result<()>), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(place) = self.parts.iter().position(|part| part.task.id() == id) else { return };
        let part = &mut self.parts[place];
        part.has_ended = true;
        let cause = match ended {
            Ok((_, Ok(()))) if part.stop.is_cancelled() => return self.show(place, PartState::Stopped),
            Ok((_, Ok(()))) => Cause::Ended,
            Ok((_, Err(error))) => Cause::Error(error),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => Cause::Panicked(message(&*panic)),
                // It was cut off, which is noted already.
                Err(_) => return,
            },
        };
        self.fail(place, cause);
    }

    fn fail(&mut self, place: usize, cause: Cause) {
        let (part, since) = (self.parts[place].name.clone(), self.clock.now());
        match self.failures.is_empty() {
            true => tracing::error!(part, error = %cause, "a part failed; all parts are stopped"),
            false => tracing::error!(part, error = %cause, "another part failed"),
        }
        self.show(place, PartState::Failed { reason: cause.to_string(), since });
        self.failures.push(Failure { part, cause, since });
    }

    /// Shows a part's state. A failure stays to be seen.
    fn show(&self, place: usize, state: PartState) {
        self.status.send_if_modified(|all| match all.get_mut(place) {
            Some(part) if !matches!(part.state, PartState::Failed { .. }) && part.state != state => {
                part.state = state;
                true
            }
            _ => false,
        });
    }
}

impl Drop for Running {
    /// What still runs is aborted with the set of tasks.
    fn drop(&mut self) {
        (0..self.parts.len()).for_each(|place| self.show(place, PartState::Stopped));
    }
}

fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(NEVER)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
