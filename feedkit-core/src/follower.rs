//! What follows the history: counters, rollups, alerts, or something of one's own.

use std::sync::Arc;

use async_trait::async_trait;

use crate::history::History;
use crate::journal::JournalEntry;
use crate::{Offset, Partition, Result};

/// Applies the journal's entries to something else, each exactly once.
///
/// # Contract
///
/// - A follower stores how far it has come **together with** what it changed, so that a crash between the two
///   cannot happen. [`position`](Follower::position) answers from what is stored.
/// - [`apply`](Follower::apply) is handed a contiguous run of one partition's entries, in order. Entries, or the
///   part of one, that lie before the follower's position are passed over. If the run begins after its position
///   it changes nothing and fails as [`Gap`](crate::ErrorKind::Gap).
/// - Two processes may call `apply` with the same entries at once: the stored position decides, and the effects
///   are there once.
/// - One process calls `apply` for several partitions at once, for one partition never.
/// - `apply` returns the next offset it wants. It may hold what it was given for later (its `position` is then
///   behind); what it holds is given again after a crash.
/// - After [`rebuild`](Follower::rebuild) it is as if it had applied all entries up to the history's positions.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable): the same call is made again after a while.
/// [`Gap`](crate::ErrorKind::Gap) and [`Fenced`](crate::ErrorKind::Fenced): the position is read again first.
/// Any other stops this follower, visibly, and nothing else.
///
/// # Cancellation
///
/// A dropped `apply` has either been stored or not, as after a crash.
#[async_trait]
pub trait Follower: Send + Sync + 'static {
    /// Its name, under which the history notes how far it has come.
    fn name(&self) -> &str;

    /// Which partitions it is to be given.
    fn scope(&self) -> Scope {
        Scope::Owned
    }

    /// Where to go on with `partition`.
    async fn position(&self, partition: Partition) -> Result<FollowerPosition>;

    /// Applies a contiguous run of entries.
    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset>;

    /// Starts over from the history's totals. Called when `position` asks for it, or the journal no longer
    /// reaches back to it. Most followers of one's own can only fail here.
    async fn rebuild(&self, history: &dyn History) -> Result<()>;

    /// Called about once a second, and every 50 ms while there is nothing more to hand over and something of what
    /// was handed over is not stored: the time to write down what is held, or to renew a lease.
    async fn tick(&self) -> Result<()> {
        Ok(())
    }

    /// Called once, at a shutdown in good order, after the last `apply`.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Which partitions a follower is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those whose records this process commits.
    Owned,
    /// All that the history knows, whoever commits them.
    All,
}

/// Where a follower stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerPosition {
    /// It wants the entries from this offset on.
    At(Offset),
    /// Another process is doing this now; ask again later.
    Standby,
    /// What it has cannot be continued, for this reason; rebuild it.
    Rebuild(String),
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Follower + ?Sized> Follower for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }
            fn scope(&self) -> Scope {
                (**self).scope()
            }
            async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
                (**self).position(partition).await
            }
            async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
                (**self).apply(partition, entries).await
            }
            async fn rebuild(&self, history: &dyn History) -> Result<()> {
                (**self).rebuild(history).await
            }
            async fn tick(&self) -> Result<()> {
                (**self).tick().await
            }
            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    };
}
forward!(Arc);
forward!(Box);
