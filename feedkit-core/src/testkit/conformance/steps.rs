//! Steps of the alert follower, and the lease that writing them needs.

use std::time::Duration;

use super::sentence::Sentence;
use super::support::{at, user};
use crate::alert_log::{AlertLog, AlertStep, Consumed};
use crate::lease::Lease;
use crate::notification::{Audience, Notification, Severity};
use crate::{Partition, Timestamp};

pub(super) const TTL: Duration = Duration::from_secs(10);

pub(super) fn alert(id: &str) -> Notification {
    Notification {
        id: id.to_owned(),
        kind: "MILESTONE".into(),
        severity: Severity::Info,
        audience: Audience::User(user("u1")),
        title: format!("alert {id}"),
        data: serde_json::Map::from_iter([("likes".to_owned(), 10.into())]),
        occurred_at: at(1),
    }
}

pub(super) fn step(number: u64, alerts: &[&str]) -> AlertStep {
    let consumed = [0, 1].map(|p| Consumed {
        partition: Partition(p),
        from: (number - 1) * 10,
        to: number * 10 + u64::from(p),
    });
    AlertStep {
        number,
        watermark: at(number as i64),
        consumed: consumed.to_vec(),
        alerts: alerts.iter().map(|id| alert(id)).collect(),
    }
}

pub(super) async fn acquire(says: Sentence, log: &impl AlertLog) -> Lease {
    match says.ok("acquire", log.acquire("one", at(0), TTL).await) {
        Some(lease) => lease,
        None => says.broken("the lease is free, but it is not given"),
    }
}

/// Takes over the lease of another owner, which has expired.
pub(super) async fn take_over(says: Sentence, log: &impl AlertLog, owner: &str, now: Timestamp) -> Lease {
    match says.ok("acquire", log.acquire(owner, now, TTL).await) {
        Some(lease) => lease,
        None => says.broken("a lease that has expired is not given"),
    }
}
