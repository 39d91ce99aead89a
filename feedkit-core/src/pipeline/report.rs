//! The part of the pipeline's status that concerns one follower.

use tokio::sync::watch;

use super::status::{FollowerStatus, PipelineStatus, Trouble};
use crate::{Error, ErrorKind, Offset, Partition};

/// One follower's entry in the pipeline's status.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) status: watch::Sender<PipelineStatus>,
}

impl Report {
    /// Changes the follower's entry.
    pub(super) fn show(&self, change: impl FnOnce(&mut FollowerStatus)) {
        self.status.send_if_modified(|status| {
            let follower = status.followers.entry(self.name.clone()).or_default();
            let before = follower.clone();
            change(follower);
            *follower != before
        });
    }

    /// Shows a failure. The call will be repeated.
    pub(super) fn trouble(&self, error: &Error) {
        tracing::warn!(follower = self.name, %error, "trying again");
        self.show(|status| status.trouble = Some(error.into()));
    }

    /// Shows that the follower stopped for good.
    pub(super) fn stopped(&self, why: Trouble) {
        self.show(|status| (status.stopped, status.trouble) = (true, Some(why)));
    }

    /// The follower's stored position in a partition, when it was last asked.
    pub(super) fn durable(&self, partition: Partition) -> Offset {
        self.see(|follower| follower.durable.of(partition)).unwrap_or_default()
    }

    /// Whether the follower has not yet stored everything that it received.
    pub(super) fn holds(&self) -> bool {
        self.see(|follower| !follower.standby && !follower.durable.covers(&follower.applied))
            .unwrap_or_default()
    }

    fn see<T>(&self, look: impl FnOnce(&FollowerStatus) -> T) -> Option<T> {
        self.status.borrow().followers.get(&self.name).map(look)
    }
}

/// If this is dropped during a panic, it shows that the follower stopped. Otherwise the status
/// would show a running follower.
pub(super) struct ShowPanic(pub(super) Report);

impl Drop for ShowPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stopped(Trouble::new(ErrorKind::Fatal, "it panicked"));
        }
    }
}
