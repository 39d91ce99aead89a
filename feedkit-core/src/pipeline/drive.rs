//! Drives one follower: from memory when it keeps up, from the journal when it does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::{Feed, Next};
use super::retry::{Backoff, Waits};
use super::status::{FollowerStatus, PipelineStatus};
use crate::failpoint::{self, stage};
use crate::follower::{Follower, FollowerPosition, Scope};
use crate::history::{History, JournalRead};
use crate::{Error, ErrorKind, Offset, Partition, Result};

/// About so many effects are handed over at a time, so that partitions take turns.
const RUN: usize = 8_000;
/// How often a follower is ticked, standby is asked again, and foreign commits are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How often a follower is ticked that has nothing more to take and holds something that it was handed. Not after
/// every round: a tick asks where each partition stands, and what comes meanwhile waits.
const HELD: Duration = Duration::from_millis(50);

/// How many positions to request at once.
const ASKED: usize = 8;

/// Feeds one follower.
pub(super) struct Driver {
    pub(super) follower: Arc<dyn Follower>,
    pub(super) history: Arc<dyn History>,
    pub(super) feed: Arc<Feed>,
    pub(super) backoff: Backoff,
    pub(super) status: watch::Sender<PipelineStatus>,
}

/// Where a follower stands with one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// To be asked.
    Unknown,
    At(Offset),
    Standby,
}

impl Driver {
    /// Runs until `stop`, then catches up with what is committed, and closes the follower. An error that stops
    /// the follower is shown in the status; it stops nothing else.
    pub(super) async fn run(self, stop: CancellationToken) {
        let name = self.follower.name().to_owned();
        let _shown = ShowPanic { name: name.clone(), status: self.status.clone() };
        let mut drive = Drive {
            waits: self.backoff.waits(),
            cursors: BTreeMap::new(),
            gaps: 0,
            noted: None,
            driver: self,
        };
        let outcome = drive.go(&stop).await;
        let outcome = match outcome {
            Ok(()) => drive.driver.follower.close().await,
            failed => failed,
        };
        if let Err(error) = outcome {
            tracing::error!(follower = name, %error, "a follower stops");
            drive.show(|status| {
                status.trouble = Some(error.to_string());
                status.stopped = true;
            });
        }
    }
}

/// A follower that panics must not look as if it were at work.
struct ShowPanic {
    name: String,
    status: watch::Sender<PipelineStatus>,
}

impl Drop for ShowPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.status.send_modify(|status| {
                let follower = status.followers.entry(self.name.clone()).or_default();
                (follower.stopped, follower.trouble) = (true, Some("it panicked".to_owned()));
            });
        }
    }
}

/// What came of one partition's turn.
enum Handed {
    Nothing,
    /// The follower has taken a run, and wants this offset next.
    Taken(Partition, Offset),
    /// The journal no longer reaches back to where the follower stands.
    Expired(String),
    /// The follower stands elsewhere.
    Refused(Error),
    /// Nothing was handed over, or the follower cannot take it now.
    Failed(Error),
}

impl Driver {
    async fn hand_over(&self, partition: Partition, at: Offset) -> Handed {
        let entries = match self.feed.next(partition, at, RUN) {
            Next::Entries(run) => run,
            Next::Nothing => return Handed::Nothing,
            Next::InJournal => match self.history.journal(partition, at, RUN).await {
                Ok(JournalRead::Entries(run)) if run.is_empty() => return Handed::Nothing,
                Ok(JournalRead::Entries(run)) => run,
                Ok(JournalRead::Expired(start)) => {
                    return Handed::Expired(format!(
                        "it stands at {at} of partition {partition}, the journal begins at {start}"
                    ));
                }
                Err(error) => return Handed::Failed(error),
            },
        };
        failpoint::reach(stage::FOLLOWER);
        match self.follower.apply(partition, &entries).await {
            Ok(next) => Handed::Taken(partition, next),
            Err(error) if error.kind().must_reread() => Handed::Refused(error),
            Err(error) => Handed::Failed(error),
        }
    }
}

struct Drive {
    driver: Driver,
    cursors: BTreeMap<Partition, Cursor>,
    waits: Waits,
    /// Refusals in a row with nothing applied between them.
    gaps: u32,
    noted: Option<Instant>,
}

impl Drive {
    async fn go(&mut self, stop: &CancellationToken) -> Result<()> {
        let (mut ticked, mut looked) = (Instant::now(), Instant::now());
        loop {
            let stopping = stop.is_cancelled();
            // Before the round, so that what is found is handed over at once; busy or not.
            if self.driver.feed.take_look() || looked.elapsed() >= TICK {
                self.look_for_foreign_commits().await;
                looked = Instant::now();
            }
            let round = self.round().await;
            let progress = matches!(round, Ok(true));
            let pace = if progress || !self.holds() { TICK } else { HELD };
            let tick = if ticked.elapsed() >= pace || (stopping && !progress) {
                let ticking = self.tick().await;
                ticked = Instant::now();
                ticking
            } else {
                Ok(())
            };
            match round.map(drop).and(tick) {
                Ok(()) => self.waits.reset(),
                Err(error) if may_mend(error.kind()) => {
                    self.trouble(&error);
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
                let pace = if self.holds() { HELD } else { TICK };
                tokio::select! {
                    () = self.driver.feed.changed() => {}
                    () = tokio::time::sleep_until(ticked + pace) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Hands over one run of each partition, all side by side: what one waits for from its store keeps the others
    /// from nothing. Whether there was any.
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
        let driver = &self.driver;
        let handed = join_all(due.into_iter().map(|(partition, at)| driver.hand_over(partition, at))).await;
        // Those that went well first: a failure may ask for all positions anew.
        let (taken, others): (Vec<_>, Vec<_>) =
            handed.into_iter().partition(|h| matches!(h, Handed::Taken(..)));
        for handed in taken.into_iter().chain(others) {
            match self.settle(handed).await {
                Ok(some) => progress |= some,
                Err(error) if may_mend(error.kind()) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(progress), Err)
    }

    /// What follows from one partition's turn; whether anything moved.
    async fn settle(&mut self, handed: Handed) -> Result<bool> {
        match handed {
            Handed::Nothing => Ok(false),
            Handed::Taken(partition, next) => {
                self.gaps = 0;
                self.cursors.insert(partition, Cursor::At(next));
                self.show(|status| {
                    status.applied.set(partition, next);
                    status.trouble = None;
                    status.standby = false;
                });
                Ok(true)
            }
            Handed::Expired(why) => {
                self.rebuild(&why).await?;
                Ok(true)
            }
            Handed::Refused(error) => {
                self.cursors.clear();
                self.gaps = if error.kind() == ErrorKind::Gap { self.gaps + 1 } else { 0 };
                if self.gaps >= 3 {
                    tracing::warn!(%error, "a follower does not find its way back");
                    self.rebuild(&error.to_string()).await?;
                }
                Err(error)
            }
            Handed::Failed(error) => Err(error),
        }
    }

    /// Asks the follower where it stands.
    async fn locate(&mut self, partition: Partition) -> Result<Option<Offset>> {
        match self.driver.follower.position(partition).await? {
            FollowerPosition::At(at) => {
                self.cursors.insert(partition, Cursor::At(at));
                self.show(|status| {
                    status.applied.set(partition, at);
                    status.durable.set(partition, at);
                    status.standby = false;
                });
                Ok(Some(at))
            }
            FollowerPosition::Standby => {
                self.cursors.insert(partition, Cursor::Standby);
                self.show(|status| status.standby = true);
                Ok(None)
            }
            FollowerPosition::Rebuild(why) => {
                self.rebuild(&why).await?;
                Ok(None)
            }
        }
    }

    async fn rebuild(&mut self, why: &str) -> Result<()> {
        let name = self.driver.follower.name();
        tracing::warn!(follower = name, why, "rebuilding");
        self.driver.follower.rebuild(&*self.driver.history).await?;
        tracing::info!(follower = name, "rebuilt");
        self.gaps = 0;
        self.cursors.clear();
        // All partitions are asked for their positions in the next round.
        self.driver.feed.wake();
        Ok(())
    }

    /// Lets the follower do what it does when idle, and notes what it has stored.
    async fn tick(&mut self) -> Result<()> {
        if let Err(error) = self.driver.follower.tick().await {
            if error.kind() != ErrorKind::Retriable {
                // What it held may be gone, or written: where it stands has to be asked.
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
        // Side by side, as in a round: what comes meanwhile waits for the slowest answer, not for all of them. The first
        // that fails ends it: the others would wait for the same store.
        let mut answers = stream::iter(asked).buffered(ASKED);
        while let Some((partition, cursor, position)) = answers.next().await {
            match (position?, cursor) {
                (FollowerPosition::At(at), Cursor::At(_)) if at >= self.durable(partition) => {
                    self.show(|status| status.durable.set(partition, at));
                    if note {
                        self.driver.history.note_follower(self.driver.follower.name(), partition, at).await?;
                    }
                }
                (FollowerPosition::Standby, Cursor::Standby) => {}
                // Also one that has lost what it had stored: it is asked where to go on though nothing new came.
                _ => {
                    self.cursors.insert(partition, Cursor::Unknown);
                    self.driver.feed.wake();
                }
            }
        }
        if note {
            self.noted = Some(Instant::now());
        }
        self.show(|status| status.trouble = None);
        Ok(())
    }

    /// How far the follower had stored a partition when last asked.
    fn durable(&self, partition: Partition) -> Offset {
        let status = self.driver.status.borrow();
        status.followers.get(self.driver.follower.name()).map_or(0, |f| f.durable.of(partition))
    }

    /// Whether the follower has not stored all that it was handed.
    fn holds(&self) -> bool {
        let status = self.driver.status.borrow();
        status
            .followers
            .get(self.driver.follower.name())
            .is_some_and(|f| !f.standby && !f.durable.covers(&f.applied))
    }

    async fn look_for_foreign_commits(&self) {
        if self.driver.follower.scope() == Scope::All {
            match self.driver.history.positions().await {
                Ok(positions) => self.driver.feed.history_stands_at(&positions),
                Err(error) => tracing::warn!(%error, "cannot read the history's positions"),
            }
        }
    }

    fn trouble(&self, error: &Error) {
        tracing::warn!(follower = self.driver.follower.name(), %error, "trying again");
        self.show(|status| status.trouble = Some(error.to_string()));
    }

    fn show(&self, change: impl FnOnce(&mut FollowerStatus)) {
        let name = self.driver.follower.name();
        self.driver.status.send_if_modified(|status| {
            let follower = status.followers.entry(name.to_owned()).or_default();
            let before = follower.clone();
            change(follower);
            *follower != before
        });
    }
}

/// Whether another attempt, or another look at the position, may mend the fault.
fn may_mend(kind: ErrorKind) -> bool {
    kind.may_pass() || kind.must_reread()
}
