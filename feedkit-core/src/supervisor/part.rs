//! One part, and how it is to be stopped.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::Result;

/// A part of a program that runs until it is asked to stop.
///
/// A part is a name and a function. The supervisor calls the function with a token, and cancels the
/// token when the part is to stop.
pub struct Part {
    pub(super) name: String,
    pub(super) run: Run,
    pub(super) deadline: Option<Duration>,
    pub(super) ready: Option<Ready>,
}

pub(super) type Run = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, Result<()>> + Send>;

/// What the supervisor waits for before it asks a part to stop.
pub(super) struct Ready {
    pub(super) condition: BoxFuture<'static, Result<()>>,
    pub(super) within: Duration,
}

impl Part {
    /// A part that runs `run` until the token is cancelled.
    pub fn new<F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        F: FnOnce(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let run: Run = Box::new(|stop| Box::pin(async move { run(stop).await }));
        Part { name: name.into(), run, deadline: None, ready: None }
    }

    /// Maximum time that this part may take to stop. A part that takes longer is cut off.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Waits for `condition` before the part is asked to stop, for at most `within`. All parts that
    /// follow still run meanwhile.
    ///
    /// The part is stopped in any case. An error of the condition is logged. The supervisor does
    /// not wait when a part has failed.
    pub fn stop_after<C>(mut self, condition: C, within: Duration) -> Self
    where
        C: Future<Output = Result<()>> + Send + 'static,
    {
        self.ready = Some(Ready { condition: Box::pin(condition), within });
        self
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("deadline", &self.deadline).finish()
    }
}
