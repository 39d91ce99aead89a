//! A source's place in a group.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::group::Member;
use super::shared::Shared;
use super::topic::Topic;

/// How long it may take until the end of a revoked partition's guard is noticed.
const REVOKING_POLL: Duration = Duration::from_millis(5);

/// A place in a group. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) log: Arc<Shared>,
    pub(super) member: Member,
    partitions: usize,
    pub(super) changed: watch::Receiver<u64>,
}

impl Membership {
    /// Joins `group`.
    pub(super) fn new(log: Arc<Shared>, topic: &Topic, group: &str) -> Membership {
        let (changed, partitions) = (log.groups.changed(), topic.tables.len());
        let member = log.groups.join(&topic.name, group, partitions);
        Membership { log, member, partitions, changed }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.log.groups.leave(&self.member, self.partitions);
    }
}

/// Waits until the group may have news for the member.
pub(super) async fn regrouped(membership: &mut Option<Membership>) {
    let Some(Membership { log, member, changed, .. }) = membership else {
        return std::future::pending().await;
    };
    let revoking = log.groups.is_revoking(member);
    let guard_may_be_gone = async {
        match revoking {
            true => tokio::time::sleep(REVOKING_POLL).await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        changed = changed.changed() => if changed.is_err() { std::future::pending::<()>().await },
        () = guard_may_be_gone => {}
    }
}
