//! Drives one follower: with entries from memory if it keeps up, and from the journal if it does
//! not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::report::{Report, ShowPanic};
use super::retry::{Backoff, Waits};
use super::status::RebuildCause;
use super::turn::{Handed, hand_over};
use crate::follower::{Follower, FollowerPosition, Scope};
use crate::history::History;
use crate::{ErrorKind, Offset, Partition, Result};

/// How often to tick a follower, to ask a follower on standby again, and to look for commits of
/// other processes.
const TICK: Duration = Duration::from_secs(1);
/// How often to tick a follower that has a buffer to store, while there are no further entries. It
/// is not ticked after every round: a tick asks for the position of each partition, and new entries
/// wait meanwhile.
const HELD: Duration = Duration::from_millis(50);

/// How many times in a row a follower may refuse the entries at the position that it gave.
const REFUSALS: u32 = 3;

/// How many positions to ask for at once.
const ASKED: usize = 8;

/// Feeds one follower.
pub(super) struct Driver {
    pub(super) follower: Arc<dyn Follower>,
    pub(super) history: Arc<dyn History>,
    pub(super) feed: Arc<Feed>,
    pub(super) backoff: Backoff,
    pub(super) report: Report,
}

/// What is known about a follower's position in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// The position is unknown. The follower must be asked.
    Unknown,
    At(Offset),
    Standby,
}

impl Driver {
    /// Runs until `stop` is cancelled. Then it applies the rest of the committed entries, and
    /// closes the follower. The status shows an error that stops the follower. Such an error stops
    /// nothing else.
    pub(super) async fn run(self, stop: CancellationToken) {
        let _shown = ShowPanic(self.report.clone());
        let mut drive = Drive {
            waits: self.backoff.waits(),
            cursors: BTreeMap::new(),
            refused: BTreeMap::new(),
            noted: None,
            driver: self,
        };
        let outcome = drive.go(&stop).await;
        let Driver { follower, report, .. } = &drive.driver;
        let outcome = match outcome {
            Ok(()) => follower.close().await,
            failed => failed,
        };
        if let Err(error) = outcome {
            tracing::error!(follower = report.name, %error, "a follower stops");
            report.stopped((&error).into());
        }
    }
}

struct Drive {
    driver: Driver,
    cursors: BTreeMap<Partition, Cursor>,
    waits: Waits,
    /// Where the follower refused the next entries, and how many times in a row.
    refused: BTreeMap<Partition, (Offset, u32)>,
    /// When the follower's position was last noted in the history.
    noted: Option<Instant>,
}

impl Drive {
    async fn go(&mut self, stop: &CancellationToken) -> Result<()> {
        let (mut ticked, mut looked) = (Instant::now(), Instant::now());
        loop {
            let stopping = stop.is_cancelled();
            // This comes before the round, so that the round hands over what is found, even if the
            // follower is always busy.
            if self.driver.feed.take_look() || looked.elapsed() >= TICK {
                self.look_for_foreign_commits().await;
                looked = Instant::now();
            }
            let round = self.round().await;
            let progress = matches!(round, Ok(true));
            let tick = if ticked.elapsed() >= self.pace(progress) || (stopping && !progress) {
                let ticking = self.tick().await;
                ticked = Instant::now();
                ticking
            } else {
                Ok(())
            };
            match round.map(drop).and(tick) {
                Ok(()) => self.waits.reset(),
                Err(error) if may_mend(error.kind()) => {
                    self.driver.report.trouble(&error);
                    if stopping {
                        return Ok(());
                    }
                    tokio::select! {
                        () = self.waits.sleep() => {}
                        () = stop.cancelled() => {}
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
            if !progress {
                if stopping {
                    return Ok(());
                }
                tokio::select! {
                    () = self.driver.feed.changed() => {}
                    () = tokio::time::sleep_until(ticked + self.pace(progress)) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// How long to wait after a tick until the next one.
    fn pace(&self, progress: bool) -> Duration {
        match !progress && self.driver.report.holds() {
            true => HELD,
            false => TICK,
        }
    }

    /// Hands over one run of entries of each partition, all at the same time. While one waits for
    /// its store, the others continue. Returns whether there was anything to hand over.
    async fn round(&mut self) -> Result<bool> {
        let (mut progress, mut failed) = (false, None);
        let mut due = Vec::new();
        for partition in self.driver.feed.partitions() {
            let cursor = self.cursors.get(&partition).copied().unwrap_or(Cursor::Unknown);
            match cursor {
                Cursor::At(at) => due.push((partition, at)),
                Cursor::Standby => {}
                Cursor::Unknown => match self.locate(partition).await {
                    Ok(Some(at)) => due.push((partition, at)),
                    Ok(None) => {}
                    Err(error) if may_mend(error.kind()) => failed = Some(error),
                    Err(error) => return Err(error),
                },
            }
        }
        let Driver { follower, feed, history, .. } = &self.driver;
        let turns =
            due.into_iter().map(|(partition, at)| hand_over(&**follower, feed, &**history, partition, at));
        // The successes come first, because a failure may clear all positions.
        let (taken, others): (Vec<_>, Vec<_>) =
            join_all(turns).await.into_iter().partition(|h| matches!(h, Handed::Taken(..)));
        for handed in taken.into_iter().chain(others) {
            match self.settle(handed).await {
                Ok(some) => progress |= some,
                Err(error) if may_mend(error.kind()) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(progress), Err)
    }

    /// Handles the outcome of one partition's turn. Returns whether its position moved.
    async fn settle(&mut self, handed: Handed) -> Result<bool> {
        match handed {
            Handed::Nothing => Ok(false),
            Handed::Taken(partition, next) => {
                self.refused.remove(&partition);
                self.cursors.insert(partition, Cursor::At(next));
                self.driver.report.show(|status| {
                    status.applied.set(partition, next);
                    status.trouble = None;
                    status.standby = false;
                });
                Ok(true)
            }
            Handed::Expired(why) => {
                self.rebuild(RebuildCause::Expired, &why).await?;
                Ok(true)
            }
            Handed::Refused(partition, at, error) => {
                self.cursors.clear();
                if error.kind() == ErrorKind::Gap && self.contradicts(partition, at) {
                    tracing::warn!(%error, "a follower keeps refusing what follows on its position");
                    self.rebuild(RebuildCause::Refused, &error.to_string()).await?;
                }
                Err(error)
            }
            Handed::Failed(error) => Err(error),
        }
    }

    /// Whether the follower has refused the entries at its own position [`REFUSALS`] times in a row.
    /// A position that moves is not a contradiction: another process, or a write that was still
    /// running, has moved it.
    fn contradicts(&mut self, partition: Partition, at: Offset) -> bool {
        let (stands, times) = self.refused.entry(partition).or_insert((at, 0));
        *times = if *stands == at { *times + 1 } else { 1 };
        *stands = at;
        *times >= REFUSALS
    }

    /// Asks the follower for its position.
    async fn locate(&mut self, partition: Partition) -> Result<Option<Offset>> {
        match self.driver.follower.position(partition).await? {
            FollowerPosition::At(at) => {
                self.cursors.insert(partition, Cursor::At(at));
                self.driver.report.show(|status| {
                    status.applied.set(partition, at);
                    status.durable.set(partition, at);
                    status.standby = false;
                });
                Ok(Some(at))
            }
            FollowerPosition::Standby => {
                self.cursors.insert(partition, Cursor::Standby);
                self.driver.report.show(|status| status.standby = true);
                Ok(None)
            }
            FollowerPosition::Rebuild(why) => {
                self.rebuild(RebuildCause::Requested, &why).await?;
                Ok(None)
            }
        }
    }

    async fn rebuild(&mut self, cause: RebuildCause, why: &str) -> Result<()> {
        let name = self.driver.follower.name();
        let began = Instant::now();
        tracing::warn!(follower = name, %cause, why, "rebuilding");
        self.driver.report.show(|status| {
            status.rebuilding = Some(cause);
            *status.rebuilds.entry(cause).or_default() += 1;
        });
        let outcome = self.driver.follower.rebuild(&*self.driver.history).await;
        self.driver.report.show(|status| status.rebuilding = None);
        outcome?;
        tracing::info!(follower = name, seconds = began.elapsed().as_secs(), "rebuilt");
        self.refused.clear();
        self.cursors.clear();
        // The next round asks for the positions of all partitions.
        self.driver.feed.wake();
        Ok(())
    }

    /// Ticks the follower, and notes what it has stored.
    async fn tick(&mut self) -> Result<()> {
        if let Err(error) = self.driver.follower.tick().await {
            if error.kind() != ErrorKind::Retriable {
                // The follower may have lost or stored its buffer. Its position is therefore
                // unknown.
                self.cursors.clear();
                self.driver.feed.wake();
            }
            return Err(error);
        }
        let note = self.noted.is_none_or(|at| at.elapsed() >= 10 * TICK);
        let follower = self.driver.follower.clone();
        let asked = self.cursors.clone().into_iter().map(|(partition, cursor)| {
            let follower = &follower;
            async move { (partition, cursor, follower.position(partition).await) }
        });
        // All partitions are asked at the same time, so that new entries wait only for the slowest
        // answer. The first failure ends the tick, because the other calls would wait for the same
        // store.
        let mut answers = stream::iter(asked).buffered(ASKED);
        while let Some((partition, cursor, position)) = answers.next().await {
            match (position?, cursor) {
                (FollowerPosition::At(at), Cursor::At(_)) if at >= self.driver.report.durable(partition) => {
                    self.driver.report.show(|status| status.durable.set(partition, at));
                    if note {
                        self.driver.history.note_follower(self.driver.follower.name(), partition, at).await?;
                    }
                }
                (FollowerPosition::Standby, Cursor::Standby) => {}
                // The follower may also have lost what it had stored. It is then asked for its
                // position, although there is nothing new.
                _ => {
                    self.cursors.insert(partition, Cursor::Unknown);
                    self.driver.feed.wake();
                }
            }
        }
        if note {
            self.noted = Some(Instant::now());
        }
        self.driver.report.show(|status| status.trouble = None);
        Ok(())
    }

    async fn look_for_foreign_commits(&self) {
        if self.driver.follower.scope() == Scope::All {
            match self.driver.history.positions().await {
                Ok(positions) => self.driver.feed.history_stands_at(&positions),
                Err(error) => tracing::warn!(%error, "cannot read the history's positions"),
            }
        }
    }
}

/// Whether another attempt, or another query of the position, may help.
fn may_mend(kind: ErrorKind) -> bool {
    kind.may_pass() || kind.must_reread()
}
