//! Waits until a write is visible to reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::follower::FollowerPosition;
use feedkit_core::{CounterStore, Error, Follower, Offset, Partition, Position, Positions, Result};
use feedkit_http::Visibility;
use feedkit_kafka::{Kafka, admin};
use feedkit_store::postgres::Postgres;
use feedkit_store::redis::RedisCounters;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::ends::Ends;

/// How often the stores are queried while requests wait. All requests share one query.
const LOOK: Duration = Duration::from_millis(10);

/// How long a write may take to become visible before the position is compared with the end of the
/// log.
const DOUBT: Duration = Duration::from_millis(250);

/// How long to wait after a failed query.
const AGAIN: Duration = Duration::from_millis(250);

/// The positions that history, rollups and counters have reached.
#[derive(Clone)]
pub struct Reached {
    shared: Arc<Shared>,
}

struct Shared {
    kafka: Kafka,
    ends: Ends,
    postgres: Postgres,
    counters: RedisCounters,
    seen: watch::Sender<Positions>,
    /// The number of waiting requests of each partition.
    waiting: Mutex<BTreeMap<Partition, usize>>,
    asked: Notify,
    /// The number of partitions known so far.
    partitions: AtomicUsize,
}

impl Reached {
    pub fn new(kafka: Kafka, postgres: Postgres, counters: RedisCounters) -> Self {
        Reached {
            shared: Arc::new(Shared {
                ends: Ends::new(kafka.clone()),
                kafka,
                postgres,
                counters,
                seen: watch::Sender::new(Positions::new()),
                waiting: Default::default(),
                asked: Notify::new(),
                partitions: AtomicUsize::new(0),
            }),
        }
    }

    /// Queries the stores while any request waits, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.look() => {}
            () = self.shared.ends.look() => {}
        }
    }

    async fn look(&self) {
        let shared = &*self.shared;
        loop {
            let wanted: Vec<_> = shared.waiting().keys().copied().collect();
            if wanted.is_empty() {
                shared.asked.notified().await;
                continue;
            }
            let mut pause = LOOK;
            for partition in wanted {
                match shared.at(partition).await {
                    Ok(at) => shared.seen.send_modify(|seen| seen.advance(partition, at)),
                    Err(error) => {
                        tracing::debug!(%error, "could not query the positions of the stores");
                        pause = AGAIN;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Partition, usize>> {
        self.waiting.lock()
    }

    /// The position of the slowest store that answers reads. The rollups are never ahead of the
    /// history.
    async fn at(&self, partition: Partition) -> Result<Offset> {
        let rollups = match self.postgres.rollups().position(partition).await? {
            FollowerPosition::At(at) => at,
            _ => 0,
        };
        let counters = self.counters.fence(partition).await?.map_or(0, |fence| fence.position);
        Ok(rollups.min(counters))
    }

    /// Refuses a partition that the log does not have. Asks Kafka again first, because partitions
    /// may have been added.
    async fn check(&self, partition: Partition) -> Result<()> {
        if (partition.0 as usize) < self.partitions.load(Ordering::Relaxed) {
            return Ok(());
        }
        let count = admin::partitions(&self.kafka).await?;
        self.partitions.store(count as usize, Ordering::Relaxed);
        match partition.0 < count {
            true => Ok(()),
            false => Err(Error::invalid(format!("the log has {count} partitions, numbered from 0"))),
        }
    }
}

/// A request that waits for a partition.
struct Waiting<'a>(&'a Shared, Partition);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared, partition: Partition) -> Self {
        *shared.waiting().entry(partition).or_insert(0) += 1;
        shared.asked.notify_one();
        Waiting(shared, partition)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        if let Some(count) = waiting.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.1);
            }
        }
    }
}

#[async_trait]
impl Visibility for Reached {
    async fn wait(&self, position: Position) -> Result<()> {
        let shared = &*self.shared;
        let mut seen = shared.seen.subscribe();
        if seen.borrow().of(position.partition) >= position.offset {
            return Ok(());
        }
        shared.check(position.partition).await?;
        let _waiting = Waiting::new(shared, position.partition);
        let reached = async {
            let reached = seen.wait_for(|seen| seen.of(position.partition) >= position.offset).await;
            reached.map(drop).map_err(|_| Error::retriable("the gateway is stopping"))
        };
        let never = async {
            tokio::time::sleep(DOUBT).await;
            let end = shared.ends.before(position).await;
            Error::invalid(format!("{position} is beyond the end of the log, {end}"))
        };
        tokio::select! {
            biased;
            reached = reached => reached,
            error = never => Err(error),
        }
    }
}
