//! Putting a supervisor together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::part::Part;
use super::run::Supervisor;
use super::status::{PartState, PartStatus, SupervisorHandle};
use crate::{Clock, Result, SystemClock};

/// How long stopping all parts may take, unless told otherwise.
const DRAIN: Duration = Duration::from_secs(30);

/// Puts a [`Supervisor`] together.
pub struct SupervisorBuilder {
    parts: Vec<Part>,
    drain: Duration,
    clock: Arc<dyn Clock>,
    status: watch::Sender<Vec<PartStatus>>,
}

impl Supervisor {
    /// Begins without parts.
    pub fn builder() -> SupervisorBuilder {
        let (status, _) = watch::channel(Vec::new());
        SupervisorBuilder { parts: Vec::new(), drain: DRAIN, clock: Arc::new(SystemClock), status }
    }
}

impl SupervisorBuilder {
    /// Adds a part: `run` is called with a token, and has to return soon after the token is
    /// cancelled.
    ///
    /// Parts are stopped in the order in which they were added. Add a part before those that it
    /// needs: what takes events in comes first, then the pipeline, then what publishes the
    /// pipeline's results.
    pub fn part<F, Fut>(self, name: impl Into<String>, run: F) -> Self
    where
        F: FnOnce(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.with_part(Part::new(name, run))
    }

    /// Adds a part that is stopped in a way of its own: see [`Part`].
    pub fn with_part(mut self, part: Part) -> Self {
        let status = PartStatus { name: part.name.clone(), state: PartState::Pending };
        self.status.send_modify(|all| all.push(status));
        self.parts.push(part);
        self
    }

    /// Adds parts in this order.
    pub fn with_parts(self, parts: impl IntoIterator<Item = Part>) -> Self {
        parts.into_iter().fold(self, SupervisorBuilder::with_part)
    }

    /// Maximum time to stop all parts together, 30 s by default. Parts that still run after it are
    /// cut off.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Takes the time of failures from `clock` instead of the system.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A view of the parts' states. Parts that are added later show up in it too.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle { status: self.status.subscribe() }
    }

    /// The supervisor, ready to run.
    ///
    /// # Panics
    ///
    /// When two parts have one name: an error could not say which of them failed.
    pub fn build(self) -> Supervisor {
        let SupervisorBuilder { parts, drain, clock, status } = self;
        for (place, part) in parts.iter().enumerate() {
            let is_first = parts[..place].iter().all(|other| other.name != part.name);
            assert!(is_first, "two parts are named {:?}", part.name);
        }
        Supervisor { parts, drain, clock, status }
    }
}
