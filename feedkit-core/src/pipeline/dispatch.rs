//! The loop that owns the source: it gives partitions to workers, and takes them away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::assignment::{Assignment, Request};
use super::inbox::Inbox;
use super::shared::Shared;
use super::status::{PartitionState, Trouble};
use super::worker::Worker;
use crate::codec::Place;
use crate::source::{Assigned, RevokeGuard, SourceEvent};
use crate::{Error, EventSource, Partition, Result};

/// How long the source may be silent after a failure before the loop asks whether it can be read.
/// If the log has no new records, nothing else shows that the source works again.
const QUIET: Duration = Duration::from_secs(1);

/// Reads the source until `shutdown` is cancelled, or until the pipeline cannot continue.
pub(super) async fn dispatch(
    source: &mut dyn EventSource,
    shared: &Arc<Shared>,
    shutdown: &CancellationToken,
) -> Result<()> {
    let (requests, mut asked) = mpsc::unbounded_channel();
    let mut dispatcher =
        Dispatcher { shared: shared.clone(), requests, held: BTreeMap::new(), workers: JoinSet::new() };
    let mut waits = shared.config.backoff.waits();
    let mut troubled = false;
    let outcome = loop {
        tokio::select! {
            () = shutdown.cancelled() => break Ok(()),
            event = source.next() => match event {
                Ok(event) => {
                    waits.reset();
                    troubled = false;
                    shared.show_source(None);
                    dispatcher.handle(source, event);
                }
                Err(error) if error.is_retriable() => {
                    tracing::warn!(%error, "the source fails, trying again");
                    troubled = true;
                    shared.show_source(Some(Trouble::from(&error)));
                    tokio::select! {
                        () = waits.sleep() => {}
                        () = shutdown.cancelled() => {}
                    }
                }
                Err(error) => break Err(error.context("the source ended")),
            },
            () = tokio::time::sleep(QUIET), if troubled => {
                let ends = tokio::select! {
                    ends = source.ends() => ends,
                    () = shutdown.cancelled() => break Ok(()),
                };
                if ends.is_ok() {
                    waits.reset();
                    troubled = false;
                    shared.show_source(None);
                }
            }
            Some(request) = asked.recv() => match request {
                Request::Resume(partition) => source.resume(partition),
                Request::StillHeld(partition, reply) => {
                    let _ = reply.send(source.still_held(partition).await);
                }
                Request::Ends(reply) => {
                    let _ = reply.send(source.ends().await);
                }
            },
            Some(ended) = dispatcher.workers.join_next() => {
                if let Err(error) = dispatcher.ended(source, ended) {
                    break Err(error);
                }
            }
        }
    };
    // A worker that waits for an answer of this loop would not notice that it should end.
    drop(asked);
    dispatcher.finish().await;
    outcome
}

struct Dispatcher {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
    held: BTreeMap<Partition, Held>,
    workers: JoinSet<(Partition, Arc<Inbox>, Result<()>)>,
}

/// A partition with a worker.
struct Held {
    inbox: Arc<Inbox>,
    lost: CancellationToken,
    closing: CancellationToken,
}

impl Dispatcher {
    fn handle(&mut self, source: &mut dyn EventSource, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(assigned) => self.assign(assigned),
            SourceEvent::Batch(batch) => {
                let partition = batch.partition;
                if let Some(held) = self.held.get(&partition)
                    && held.inbox.put(batch)
                {
                    source.pause(partition);
                }
            }
            SourceEvent::Revoked(revoked) => {
                for partition in &revoked.partitions {
                    self.release(*partition, Some(revoked.guard.clone()));
                }
            }
            SourceEvent::Lost(partitions) => {
                for partition in partitions {
                    if let Some(held) = self.held.get(&partition) {
                        held.lost.cancel();
                    }
                    self.release(partition, None);
                }
            }
            SourceEvent::Gap(gap) => {
                let partition = gap.partition;
                if let Some(held) = self.held.remove(&partition) {
                    held.inbox.finish();
                }
                tracing::error!(%gap, "a partition stops: the log does not hold the records to read next");
                let trouble = Trouble::from(&Error::from(gap));
                self.shared.set_state(partition, PartitionState::Stopped(trouble));
            }
        }
    }

    fn assign(&mut self, assigned: Assigned) {
        let place = Place { log: assigned.log, partition: assigned.partition };
        let inbox = Arc::new(Inbox::new(self.shared.config.max_batch));
        let (lost, closing) = (CancellationToken::new(), CancellationToken::new());
        let (shared, requests) = (self.shared.clone(), self.requests.clone());
        let worker = Worker {
            assignment: Assignment { shared, place, requests },
            inbox: inbox.clone(),
            lost: lost.clone(),
            closing: closing.clone(),
        };
        self.shared.set_state(place.partition, PartitionState::Claiming);
        self.held.insert(place.partition, Held { inbox: inbox.clone(), lost, closing });
        self.workers.spawn(async move { (place.partition, inbox, worker.run(assigned).await) });
    }

    fn release(&mut self, partition: Partition, guard: Option<RevokeGuard>) {
        if let Some(held) = self.held.remove(&partition) {
            held.inbox.close(guard);
            held.closing.cancel();
        }
    }

    /// Handles the end of a worker. An error that concerns only its partition stops only that
    /// partition.
    fn ended(
        &mut self,
        source: &mut dyn EventSource,
        ended: Result<(Partition, Arc<Inbox>, Result<()>), JoinError>,
    ) -> Result<()> {
        let (partition, inbox, outcome) =
            ended.map_err(|e| Error::fatal(format!("a partition's worker failed: {e}")).with_source(e))?;
        let Err(error) = outcome else { return Ok(()) };
        // The partition may have been assigned again meanwhile, to another worker.
        if self.held.get(&partition).is_some_and(|held| Arc::ptr_eq(&held.inbox, &inbox)) {
            source.pause(partition);
            self.release(partition, None);
        }
        if error.kind().must_reclaim() {
            tracing::error!(partition = partition.0, %error, "a partition stops");
            return Ok(());
        }
        Err(error.context(format!("partition {partition}")))
    }

    /// Lets the workers finish their current commits, and aborts those that take too long.
    async fn finish(mut self) {
        for held in self.held.values() {
            held.inbox.close(None);
        }
        let all = async { while self.workers.join_next().await.is_some() {} };
        if timeout(self.shared.config.shutdown_deadline, all).await.is_err() {
            tracing::warn!("a commit does not end in time; the next start settles it");
            self.workers.shutdown().await;
        }
    }
}
