//! One assigned partition: the requests of its worker, and its state in the status.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::shared::Shared;
use super::status::PartitionState;
use crate::codec::Place;
use crate::history::Claim;
use crate::{Error, Offset, Partition, Positions, Result};

/// What a worker asks of the loop that owns the source.
pub(super) enum Request {
    /// Resume the partition, because the inbox has room again.
    Resume(Partition),
    /// Ask whether the partition is still assigned to this pipeline.
    StillHeld(Partition, oneshot::Sender<Result<bool>>),
    /// Ask for the current end of every partition of the log.
    Ends(oneshot::Sender<Result<Positions>>),
}

/// One assigned partition.
pub(super) struct Assignment {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Place,
    pub(super) requests: mpsc::UnboundedSender<Request>,
}

impl Assignment {
    /// Claims the partition. Tries again until it succeeds.
    pub(super) async fn claim(&self) -> Result<Claim> {
        let partition = self.place.partition;
        let mut waits = self.shared.config.backoff.waits();
        loop {
            match self.shared.history.claim(partition, &self.shared.config.group).await {
                Ok(claim) => {
                    self.running(claim.position);
                    let positions = [(partition, claim.position)].into_iter().collect();
                    for feed in &self.shared.feeds {
                        feed.history_stands_at(&positions);
                        feed.wake();
                    }
                    return Ok(claim);
                }
                Err(error) if error.kind().may_pass() => {
                    self.trouble(&error);
                    waits.sleep().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The current end of every partition of the log.
    pub(super) async fn ends(&self) -> Result<Positions> {
        self.ask(Request::Ends).await?
    }

    /// Whether the partition is still assigned to this pipeline, as far as the source can tell. The
    /// outer error means that the source has ended.
    pub(super) async fn still_held(&self) -> Result<Result<bool>> {
        self.ask(|reply| Request::StillHeld(self.place.partition, reply)).await
    }

    /// Asks the loop to resume the partition. If the loop has ended, this worker ends too.
    pub(super) fn resume(&self) {
        let _ = self.requests.send(Request::Resume(self.place.partition));
    }

    /// Asks the loop that owns the source. Fails when the loop has ended.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<Result<T>> {
        let ended = || Error::fenced("the source has ended");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Repeats a call until it succeeds, or fails with an error that does not pass.
    pub(super) async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut waits = self.shared.config.backoff.waits();
        loop {
            match call().await {
                Err(error) if error.is_retriable() => {
                    self.trouble(&error);
                    waits.sleep().await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Shows that the partition is running, and that its position is `position`.
    pub(super) fn running(&self, position: Offset) {
        self.shared.show(self.place.partition, |status| {
            status.position = position;
            status.go_on(PartitionState::Running);
        });
    }

    /// Shows that the partition waits for older ones. Returns whether this is a change.
    pub(super) fn waiting(&self) -> bool {
        let mut is_new = false;
        self.shared.show(self.place.partition, |status| {
            is_new = status.state != PartitionState::Waiting;
            status.go_on(PartitionState::Waiting);
        });
        is_new
    }

    /// Shows a failure. The call will be repeated.
    pub(super) fn trouble(&self, error: &Error) {
        tracing::warn!(partition = self.place.partition.0, %error, "trying again");
        self.shared.show(self.place.partition, |status| status.go_on(PartitionState::Retrying(error.into())));
    }

    /// Shows how the worker ended.
    pub(super) fn ended(&self, outcome: &Result<()>) {
        self.shared.show(self.place.partition, |status| match outcome {
            Err(error) => status.state = PartitionState::Stopped(error.into()),
            Ok(()) => status.go_on(PartitionState::Released),
        });
    }
}
