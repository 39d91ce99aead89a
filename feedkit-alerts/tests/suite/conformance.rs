//! The conformance suites of the contracts, run against the rules and the follower of this crate.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_alerts::rules::{Milestone, MilestoneConfig, Spike, SpikeConfig, UserRate, UserRateConfig};
use feedkit_alerts::{AlertFollower, AlertOptions, RuleSet};
use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::follower::{Follower, FollowerPosition, Scope};
use feedkit_core::history::{
    Claim, CommitBatch, Committed, History, JournalRead, PostTotals, Retained, RetentionPolicy, Snapshot,
};
use feedkit_core::journal::JournalEntry;
use feedkit_core::memory::MemoryAlertLog;
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::testkit::ManualClock;
use feedkit_core::testkit::conformance::{FollowerHarness, alert_rule, follower};
use feedkit_core::traffic::{Farm, Steady, TrafficOptions};
use feedkit_core::{Alerts, Error, Offset, Partition, Positions, PostId, Result, Timestamp};

use crate::support::{effects, post};

fn some_effects() -> Vec<Effect> {
    let config = TrafficOptions::default()
        .count(6_000)
        .users(200)
        .rate(2.0)
        .steady(vec![Steady { post: post("s"), rate: 1.0 }])
        .farms(vec![Farm::new(post("s"), Duration::from_secs(900))]);
    effects(&config).map(|(effect, _)| effect).collect()
}

#[test]
fn milestone_keeps_the_contract() {
    let raised = alert_rule(|| Milestone::new(&MilestoneConfig::default()).unwrap(), &some_effects());
    assert!(raised.len() > 10);
}

#[test]
fn spike_keeps_the_contract() {
    let raised = alert_rule(|| Spike::new(&SpikeConfig::default()).unwrap(), &some_effects());
    assert_eq!(raised.iter().map(|n| n.kind.as_str()).collect::<Vec<_>>(), ["FRAUD", "FRAUD_RESOLVED"]);
}

#[test]
fn user_rate_keeps_the_contract() {
    let mut config = UserRateConfig::default();
    config.max_actions = 2;
    let raised = alert_rule(|| UserRate::new(&config).unwrap(), &some_effects());
    assert!(raised.len() > 10);
}

#[tokio::test]
async fn the_follower_keeps_the_contract() {
    follower(&Harness).await;
}

struct Harness;

#[async_trait]
impl FollowerHarness for Harness {
    type Follower = Followed;

    async fn fresh(&self) -> Followed {
        let (log, history) = (Arc::new(MemoryAlertLog::new()), Arc::new(Journal::default()));
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        let alerts = AlertFollower::new(
            Arc::clone(&log),
            Arc::clone(&history),
            RuleSet::empty().with(Ledger),
            Arc::new(clock.clone()),
            AlertOptions::default(),
        );
        let alerts = alerts.unwrap();
        // A pipeline reads the position first.
        alerts.position(Partition(0)).await.unwrap();
        Followed { alerts, log, history, clock }
    }

    async fn counts(&self, follower: &Followed) -> BTreeMap<(String, String), i64> {
        let mut alerts = follower.log.alerts(None, usize::MAX).await.unwrap();
        alerts.reverse();
        let (mut counts, mut rebuilt) = (BTreeMap::new(), false);
        for (_, alert) in alerts {
            if alert.kind == "TOTALS" && !std::mem::replace(&mut rebuilt, true) {
                counts.clear();
            }
            for (kind, by) in &alert.data {
                *counts.entry((alert.title.clone(), kind.clone())).or_default() += by.as_i64().unwrap();
            }
        }
        counts.retain(|_, n| *n != 0);
        counts
    }
}

/// The follower, and a journal that keeps every entry that the follower was given.
struct Followed {
    alerts: AlertFollower<Arc<MemoryAlertLog>, Arc<Journal>>,
    log: Arc<MemoryAlertLog>,
    history: Arc<Journal>,
    clock: ManualClock,
}

#[async_trait]
impl Follower for Followed {
    fn name(&self) -> &str {
        self.alerts.name()
    }
    fn scope(&self) -> Scope {
        self.alerts.scope()
    }
    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        self.alerts.position(partition).await
    }
    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        self.history.add(entries);
        self.alerts.apply(partition, entries).await
    }
    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        self.alerts.rebuild(history).await
    }
    async fn tick(&self) -> Result<()> {
        self.clock.advance(Duration::from_secs(1));
        self.alerts.tick().await
    }
    async fn close(&self) -> Result<()> {
        self.alerts.close().await
    }
}

/// Raises an alert for each effect, so that the alerts add up to the counts.
struct Ledger;

impl Ledger {
    fn raise(kind: &str, id: String, post: &PostId, counts: &[(String, i64)], context: &mut dyn RuleContext) {
        context.raise(Notification {
            id,
            kind: kind.into(),
            severity: Severity::Info,
            audience: Audience::All,
            title: post.to_string(),
            data: counts.iter().map(|(kind, n)| (kind.clone(), (*n).into())).collect(),
            occurred_at: Timestamp::EPOCH,
        });
    }
}

impl AlertRule for Ledger {
    type State = u32;
    fn name(&self) -> &str {
        "ledger"
    }
    fn keeping(&self) -> Keeping {
        Keeping::Exact
    }
    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        Some(Key::Post(&effect.post))
    }
    fn observe(&self, seen: &mut u32, effect: &Effect, context: &mut dyn RuleContext) {
        *seen += 1;
        let Some((kind, by)) = effect.kind.delta() else { return };
        let id = format!("{}:{seen}", effect.post);
        Self::raise("DELTA", id, &effect.post, &[(kind.to_owned(), by)], context);
    }
    fn rebuild(&self, totals: &PostTotals, context: &mut dyn RuleContext) -> Option<u32> {
        Self::raise("TOTALS", format!("{}:totals", totals.post), &totals.post, &totals.counts, context);
        Some(1_000)
    }
}

#[derive(Default)]
struct Journal(Mutex<Vec<Arc<JournalEntry>>>);

impl Journal {
    fn add(&self, entries: &[Arc<JournalEntry>]) {
        let mut journal = self.0.lock().unwrap();
        for entry in entries {
            if entry.from == journal.last().map_or(0, |e| e.to) {
                journal.push(Arc::clone(entry));
            }
        }
    }
}

fn not_called<T>() -> Result<T> {
    Err(Error::fatal("the alert follower must not call this"))
}

#[async_trait]
impl History for Journal {
    async fn claim(&self, _: Partition, _: &str) -> Result<Claim> {
        not_called()
    }
    async fn claimed(&self, _: Partition) -> Result<Claim> {
        not_called()
    }
    async fn commit(&self, _: Arc<CommitBatch>) -> Result<Committed> {
        not_called()
    }
    async fn journal(&self, _: Partition, from: Offset, _: usize) -> Result<JournalRead> {
        let journal = self.0.lock().unwrap();
        Ok(JournalRead::Entries(journal.iter().filter(|e| e.to > from).cloned().collect()))
    }
    async fn positions(&self) -> Result<Positions> {
        let end = self.0.lock().unwrap().last().map(|e| (e.partition, e.to));
        Ok(end.into_iter().collect())
    }
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        not_called()
    }
    async fn incarnation(&self) -> Result<u128> {
        Ok(1)
    }
    async fn note_follower(&self, _: &str, _: Partition, _: Offset) -> Result<()> {
        not_called()
    }
    async fn retain(&self, _: &RetentionPolicy, _: Timestamp) -> Result<Retained> {
        not_called()
    }
    async fn accept_gap(&self, _: Partition, _: u128, _: Offset, _: Timestamp) -> Result<()> {
        not_called()
    }
}
