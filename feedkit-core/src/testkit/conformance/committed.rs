//! Commits events that a suite then queries.

use std::sync::Arc;

use super::sentence::Sentence;
use super::support::{batch, event};
use crate::effect::LoggedEvent;
use crate::history::History;
use crate::{Offset, Partition};

/// Commits events as one batch after the stored position.
pub(super) async fn commit(says: Sentence, store: &impl History, events: Vec<LoggedEvent>) {
    let claim = says.ok("claim", store.claim(Partition(0), "group").await);
    let from = claim.position;
    let to = events.iter().map(|e| e.offset + 1).max().unwrap_or(0).max(from + 1);
    says.ok("commit", store.commit(Arc::new(batch(claim.epoch, from, to, events))).await);
}

/// Creates events at successive offsets.
pub(super) fn events(from: Offset, list: &[(&str, &str, &str)]) -> Vec<LoggedEvent> {
    (from..).zip(list).map(|(offset, (u, p, k))| event(offset, u, p, k)).collect()
}
