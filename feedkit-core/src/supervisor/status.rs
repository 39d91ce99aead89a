//! What the parts are doing, seen from outside.

use tokio::sync::watch;

use crate::Timestamp;

/// One part's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartStatus {
    /// The part's name.
    pub name: String,
    /// What it is doing.
    pub state: PartState,
}

/// What a part is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartState {
    /// The supervisor has not started it yet.
    Pending,
    /// It runs.
    Running,
    /// The supervisor has asked it to stop.
    Stopping,
    /// It stopped after it was asked to, or with the supervisor.
    Stopped,
    /// It failed.
    Failed {
        /// Why, in words.
        reason: String,
        /// When the supervisor saw it.
        since: Timestamp,
    },
}

/// Looks at a supervisor from outside. Cheap to clone; it outlives the run.
#[derive(Debug, Clone)]
pub struct SupervisorHandle {
    pub(super) status: watch::Receiver<Vec<PartStatus>>,
}

impl SupervisorHandle {
    /// All parts in the order in which they are stopped.
    pub fn status(&self) -> Vec<PartStatus> {
        self.status.borrow().clone()
    }

    /// The state of the part of this name, if there is one.
    pub fn state(&self, part: &str) -> Option<PartState> {
        self.status.borrow().iter().find(|status| status.name == part).map(|status| status.state.clone())
    }

    /// Waits for the next change of any part's state; `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.status.changed().await.is_ok()
    }
}
