//! Observing a pipeline from outside.

use std::sync::Arc;

use tokio::sync::watch;

use super::feed::Feed;
use super::status::PipelineStatus;
use crate::{Error, Positions, Result};

/// Observes a pipeline from outside. A handle is cheap to clone.
#[derive(Debug, Clone)]
pub struct PipelineHandle {
    pub(super) status: watch::Receiver<PipelineStatus>,
    pub(super) feeds: Vec<Arc<Feed>>,
}

impl PipelineHandle {
    /// The current state.
    pub fn status(&self) -> PipelineStatus {
        self.status.borrow().clone()
    }

    /// Waits until the history and every follower have stored everything up to `target`.
    ///
    /// # Errors
    ///
    /// [`Fatal`](crate::ErrorKind::Fatal) if that will not happen: the pipeline has ended, or a
    /// partition of `target` or a follower has stopped.
    ///
    /// # Cancellation
    ///
    /// The call only waits.
    pub async fn reached(&self, target: &Positions) -> Result<PipelineStatus> {
        let lost =
            |s: &PipelineStatus| lost(s, target).or_else(|| s.stopped_followers().next().map(Into::into));
        let mut status = self.status.clone();
        let end = status.wait_for(|s| s.has_reached(target) || lost(s).is_some()).await;
        let end = end.map_err(|_| ended())?.clone();
        match lost(&end) {
            Some(error) if !end.has_reached(target) => Err(error),
            _ => Ok(end),
        }
    }

    /// Waits until the history has stored everything up to `target`, without waiting for the
    /// followers.
    ///
    /// # Errors
    ///
    /// [`Fatal`](crate::ErrorKind::Fatal) if that will not happen: the pipeline has ended, or a
    /// partition of `target` has stopped.
    ///
    /// # Cancellation
    ///
    /// The call only waits.
    pub async fn committed(&self, target: &Positions) -> Result<()> {
        let mut status = self.status.clone();
        // Many callers may wait at once, so a wait copies nothing.
        let end = status.wait_for(|s| s.has_committed(target) || lost(s, target).is_some()).await;
        let end = end.map_err(|_| ended())?;
        match lost(&end, target) {
            Some(error) if !end.has_committed(target) => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes followers of all partitions look for commits of other processes now, instead of within
    /// a second.
    pub fn look(&self) {
        self.feeds.iter().for_each(|feed| feed.look());
    }

    /// Waits for the next change of the state. Returns `false` if the state will not change any
    /// more.
    pub async fn changed(&mut self) -> bool {
        self.status.changed().await.is_ok()
    }
}

/// Why the history will never reach `target`, if it will not.
fn lost(status: &PipelineStatus, target: &Positions) -> Option<Error> {
    status.ended.then(ended).or_else(|| status.stopped_among(target).map(Into::into))
}

fn ended() -> Error {
    Error::fatal("the pipeline has ended")
}
