//! What the pipeline's status shows of one follower.

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
    /// Changes what is shown.
    pub(super) fn show(&self, change: impl FnOnce(&mut FollowerStatus)) {
        self.status.send_if_modified(|status| {
            let follower = status.followers.entry(self.name.clone()).or_default();
            let before = follower.clone();
            change(follower);
            *follower != before
        });
    }

    /// Shows a failure that is going to be tried again.
    pub(super) fn trouble(&self, error: &Error) {
        tracing::warn!(follower = self.name, %error, "trying again");
        self.show(|status| status.trouble = Some(error.into()));
    }

    /// Shows that the follower stopped for good.
    pub(super) fn stopped(&self, why: Trouble) {
        self.show(|status| (status.stopped, status.trouble) = (true, Some(why)));
    }

    /// How far the follower had stored a partition when last asked.
    pub(super) fn durable(&self, partition: Partition) -> Offset {
        self.see(|follower| follower.durable.of(partition)).unwrap_or_default()
    }

    /// Whether the follower has not stored all that it was handed.
    pub(super) fn holds(&self) -> bool {
        self.see(|follower| !follower.standby && !follower.durable.covers(&follower.applied))
            .unwrap_or_default()
    }

    fn see<T>(&self, look: impl FnOnce(&FollowerStatus) -> T) -> Option<T> {
        self.status.borrow().followers.get(&self.name).map(look)
    }
}

/// When dropped in a panic, shows that the follower stopped: it must not look as if it were at
/// work.
pub(super) struct ShowPanic(pub(super) Report);

impl Drop for ShowPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stopped(Trouble::new(ErrorKind::Fatal, "it panicked"));
        }
    }
}
