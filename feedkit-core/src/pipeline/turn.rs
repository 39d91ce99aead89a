//! One partition's turn: hands a follower the entries that it wants next.

use super::feed::{Feed, Next};
use crate::failpoint::{self, stage};
use crate::history::JournalRead;
use crate::{Error, Follower, History, Offset, Partition};

/// About how many effects to hand over at once, so that partitions take turns.
const RUN: usize = 8_000;

/// The outcome of one partition's turn.
pub(super) enum Handed {
    /// There was nothing to hand over.
    Nothing,
    /// The follower has taken a run, and wants this offset next.
    Taken(Partition, Offset),
    /// The journal no longer reaches back to the follower's position.
    Expired(String),
    /// The follower refused the entries from this offset on, because its position is another one.
    Refused(Partition, Offset, Error),
    /// Nothing was handed over, or the follower cannot take it now.
    Failed(Error),
}

/// Hands over the entries from `at` on, from memory or from the journal.
pub(super) async fn hand_over(
    follower: &dyn Follower,
    feed: &Feed,
    history: &dyn History,
    partition: Partition,
    at: Offset,
) -> Handed {
    let entries = match feed.next(partition, at, RUN) {
        Next::Entries(run) => run,
        Next::Nothing => return Handed::Nothing,
        Next::InJournal => match history.journal(partition, at, RUN).await {
            Ok(JournalRead::Entries(run)) if run.is_empty() => return Handed::Nothing,
            Ok(JournalRead::Entries(run)) => run,
            Ok(JournalRead::Expired(start)) => {
                return Handed::Expired(format!(
                    "it stands at {at} of partition {partition}, but the journal begins at {start}"
                ));
            }
            Err(error) => return Handed::Failed(error),
        },
    };
    failpoint::reach(stage::FOLLOWER);
    match follower.apply(partition, &entries).await {
        Ok(next) => Handed::Taken(partition, next),
        Err(error) if error.kind().must_reread() => Handed::Refused(partition, at, error),
        Err(error) => Handed::Failed(error),
    }
}
