//! Following the history: the contract [`Follower`].

use std::sync::Arc;

use async_trait::async_trait;

use crate::history::History;
use crate::journal::JournalEntry;
use crate::{Offset, Partition, Result};

/// Applies the entries of the journal to something else, each exactly once.
///
/// Counters, rollups and alerts are followers. [`own_follower`] is an example.
///
/// [`own_follower`]: https://github.com/feedkit/feedkit/blob/main/feedkit-core/examples/own_follower.rs
///
/// # Contract
///
/// - A follower stores its position **together with** what it changed, so that a crash cannot
///   happen between the two. [`position`](Follower::position) returns what is stored.
/// - [`apply`](Follower::apply) receives a contiguous run of entries of one partition, in order.
///   The follower skips entries, and the part of an entry, that lie before its position. If the run
///   begins after its position, `apply` changes nothing and fails with
///   [`Gap`](crate::ErrorKind::Gap).
/// - Two processes may call `apply` with the same entries at the same time. The stored position
///   decides, and each effect is applied once.
/// - One process may call `apply` for several partitions at the same time, but not for one
///   partition.
/// - `apply` returns the next offset that the follower wants. A follower may buffer entries; its
///   `position` then lies behind that offset. After a crash it receives the buffered entries again.
/// - After [`rebuild`](Follower::rebuild) the follower is in the state that it would have after
///   applying all entries up to the history's positions.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable): the pipeline repeats the call later.
/// [`Gap`](crate::ErrorKind::Gap) and [`Fenced`](crate::ErrorKind::Fenced): the pipeline reads the
/// position again first. Any other error stops this follower visibly, and nothing else.
///
/// # Cancellation
///
/// A dropped `apply` has either been stored or not, as after a crash.
#[async_trait]
pub trait Follower: Send + Sync + 'static {
    /// The name under which the history notes the position of the follower.
    fn name(&self) -> &str;

    /// Which partitions the follower receives.
    fn scope(&self) -> Scope {
        Scope::Owned
    }

    /// The position in `partition` from which the follower wants entries.
    async fn position(&self, partition: Partition) -> Result<FollowerPosition>;

    /// Applies a contiguous run of entries.
    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset>;

    /// Builds the state again from the history's totals. The pipeline calls it when `position` asks
    /// for it, or when the journal no longer reaches back to the position. Most followers outside
    /// feedkit can only return an error here.
    async fn rebuild(&self, history: &dyn History) -> Result<()>;

    /// Called about once per second, for periodic work such as renewing a lease. If the follower
    /// has a buffer to store and there are no further entries, it is called every 50 ms.
    async fn tick(&self) -> Result<()> {
        Ok(())
    }

    /// Called once at an orderly shutdown, after the last `apply`.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Which partitions a follower receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The partitions whose records this process commits.
    Owned,
    /// All partitions of the history, no matter which process commits them.
    All,
}

/// The position of a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerPosition {
    /// The follower wants the entries from this offset on.
    At(Offset),
    /// Another process runs this follower now. Ask again later.
    Standby,
    /// The follower cannot continue from its stored state, for this reason. Rebuild it.
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
