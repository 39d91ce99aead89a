//! The suite of [`AlertLog`].

use super::sentence::{Sentence, drop_half_way};
use super::steps::{TTL, acquire, alert, step, take_over};
use super::support::at;
use crate::alert_log::{
    AlertLog, AlertSnapshot, AlertStep, ExactState, ExactStates, Pieces, RecordedStep, Recovered, RuleStates,
    WholeStates,
};
use crate::lease::Lease;
use crate::{Error, ErrorKind, Partition, Positions, Result};

/// Tests the contract of [`AlertLog`]. The suites [`alerts`](super::alerts) and
/// [`outbox`](super::outbox) test its supertraits.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn alert_log<L: AlertLog>(fresh: impl AsyncFn() -> L) {
    one_lease_at_a_time(&fresh().await).await;
    a_lease_from_a_clock_that_was_ahead_is_not_believed(&fresh().await).await;
    a_lease_is_renewed_and_given_back(&fresh().await).await;
    writes_under_an_older_epoch_are_refused(&fresh().await).await;
    steps_are_recovered_in_order(&fresh().await).await;
    alerts_are_kept_once(&fresh().await).await;
    a_snapshot_replaces_the_steps_it_includes(&fresh().await).await;
    a_snapshot_is_kept_whole_or_not_at_all(&fresh().await).await;
    a_dropped_step_is_whole_or_nothing(&fresh().await).await;
}

fn recorded(number: u64) -> RecordedStep {
    let AlertStep { number, watermark, consumed, .. } = step(number, &[]);
    RecordedStep { number, watermark, consumed }
}

fn snapshot(step: u64) -> AlertSnapshot {
    AlertSnapshot {
        step,
        positions: Positions::from_iter([(Partition(0), 10 * step)]),
        states: vec![("spike".into(), vec![0, 1, 255]), ("empty".into(), vec![])],
    }
}

/// Saves a snapshot together with these exact states.
async fn save(
    log: &impl AlertLog,
    lease: &Lease,
    snapshot: AlertSnapshot,
    exact: &[ExactState],
) -> Result<()> {
    let AlertSnapshot { step, positions, states } = snapshot;
    log.save_snapshot(lease, step, &positions, &WholeStates { states, exact: exact.to_vec() }).await
}

/// States in pieces of a given size. An error may follow the last piece.
struct InPieces {
    whole: WholeStates,
    size: usize,
    broken: bool,
}

impl RuleStates for InPieces {
    fn rules(&self) -> Vec<&str> {
        self.whole.rules()
    }

    fn state<'a>(&'a self, rule: &str) -> Pieces<'a> {
        let state = self.whole.states.iter().find(|(name, _)| name == rule);
        Box::new(
            state.into_iter().flat_map(|(_, state)| state.chunks(self.size)).map(|piece| Ok(piece.to_vec())),
        )
    }

    fn exact(&self) -> ExactStates<'_> {
        let error = self.broken.then(|| Err(Error::fatal("a state cannot be written")));
        Box::new(self.whole.exact().chain(error))
    }
}

/// Describes everything that can be read, to find out whether it has changed.
async fn see(says: Sentence, log: &impl AlertLog, lease: &Lease) -> String {
    let recovered = says.ok("recover", log.recover(lease).await);
    let alerts = says.ok("alerts", log.alerts(None, 100).await);
    let outbox = says.ok("outbox", log.outbox(100).await);
    let published = says.ok("published", log.published().await);
    let exact = says.ok("exact_states", log.exact_states("milestone", &["p"]).await);
    format!("{recovered:?} {alerts:?} {outbox:?} {published:?} {exact:?}")
}

async fn one_lease_at_a_time(log: &impl AlertLog) {
    let says = Sentence("at most one lease is valid at a time");
    let first = acquire(says, log).await;
    says.equal("lease", (first.owner.as_str(), first.until), ("one", at(10)));
    says.equal("acquired by another", says.ok("acquire", log.acquire("two", at(9), TTL).await), None);
    let says = Sentence("an owner may take its lease again, with the same epoch");
    let again = says.ok("acquire", log.acquire("one", at(5), TTL).await);
    says.equal("lease", again, Some(Lease { until: at(15), ..first.clone() }));
    let says = Sentence("another owner may take a lease that has expired, with a higher epoch");
    says.equal("taken before it expired", says.ok("acquire", log.acquire("two", at(14), TTL).await), None);
    let second = says.ok("acquire", log.acquire("two", at(15), TTL).await);
    match &second {
        Some(second) => says.holds(second.epoch > first.epoch, format_args!("{first:?}, then {second:?}")),
        None => says.broken("the lease is not given"),
    }
    says.equal("acquired by the first", says.ok("acquire", log.acquire("one", at(16), TTL).await), None);
}

async fn a_lease_from_a_clock_that_was_ahead_is_not_believed(log: &impl AlertLog) {
    let says = Sentence("a lease that ends more than the time of a lease from now may be taken by another");
    let ahead = says.ok("acquire", log.acquire("one", at(3600), TTL).await);
    let second = says.ok("acquire", log.acquire("two", at(0), TTL).await);
    match (&ahead, &second) {
        (Some(ahead), Some(second)) => {
            says.holds(second.epoch > ahead.epoch, format_args!("{ahead:?}, then {second:?}"));
            says.fails("renew", log.renew(ahead, at(3601), TTL).await, ErrorKind::Fenced);
        }
        _ => says.broken("it is not given"),
    }
}

async fn a_lease_is_renewed_and_given_back(log: &impl AlertLog) {
    let says = Sentence("renew extends the lease");
    let first = acquire(says, log).await;
    let renewed = says.ok("renew", log.renew(&first, at(8), TTL).await);
    says.equal("lease", renewed.clone(), Lease { until: at(18), ..first.clone() });
    says.equal("acquired by another", says.ok("acquire", log.acquire("two", at(12), TTL).await), None);
    let says =
        Sentence("a lease that was given back can be taken at once, and the next one has a higher epoch");
    says.ok("release", log.release(&renewed).await);
    match says.ok("acquire", log.acquire("two", at(12), TTL).await) {
        Some(second) => says.holds(second.epoch > first.epoch, format_args!("{first:?}, then {second:?}")),
        None => says.broken("the lease is not given"),
    }
    let says = Sentence("a lease that was given back is no longer valid");
    says.fails("renew", log.renew(&renewed, at(13), TTL).await, ErrorKind::Fenced);
    says.fails("release", log.release(&renewed).await, ErrorKind::Fenced);
}

async fn writes_under_an_older_epoch_are_refused(log: &impl AlertLog) {
    let says = Sentence("every write under an older lease fails as fenced and changes nothing");
    let old = acquire(says, log).await;
    says.ok("step", log.step(&old, &step(1, &["a"])).await);
    let new = take_over(says, log, "two", at(60)).await;
    let before = see(says, log, &new).await;
    says.fails("step", log.step(&old, &step(2, &["b"])).await, ErrorKind::Fenced);
    let exact = [ExactState { rule: "milestone".into(), key: "p".into(), state: vec![1] }];
    says.fails("save_snapshot", save(log, &old, snapshot(1), &exact).await, ErrorKind::Fenced);
    let marked = log.mark_published(&old, 1, &Positions::from_iter([(Partition(0), 1)])).await;
    says.fails("mark_published", marked, ErrorKind::Fenced);
    says.fails("renew", log.renew(&old, at(61), TTL).await, ErrorKind::Fenced);
    says.fails("release", log.release(&old).await, ErrorKind::Fenced);
    says.equal("log", see(says, log, &new).await, before);
    says.equal("acquired meanwhile", says.ok("acquire", log.acquire("one", at(62), TTL).await), None);
    says.ok("step under the current lease", log.step(&new, &step(2, &["b"])).await);
}

async fn steps_are_recovered_in_order(log: &impl AlertLog) {
    let says = Sentence("recover returns the last snapshot and every step after it, in order");
    let lease = acquire(says, log).await;
    says.equal("at first", says.ok("recover", log.recover(&lease).await), Recovered::default());
    let says_gap = Sentence("a step whose number is not the next fails as a gap, and changes nothing");
    says_gap.fails("step 2 at first", log.step(&lease, &step(2, &["x"])).await, ErrorKind::Gap);
    for number in 1..=12 {
        says.ok("step", log.step(&lease, &step(number, &[])).await);
    }
    for number in [1, 12, 14] {
        let what = format!("step {number} after 12");
        says_gap.fails(&what, log.step(&lease, &step(number, &["x"])).await, ErrorKind::Gap);
    }
    says_gap.equal("alerts", says.ok("alerts", log.alerts(None, 9).await), vec![]);
    let next = take_over(says, log, "two", at(60)).await;
    let recovered = says.ok("recover", log.recover(&next).await);
    says.equal("recovered", recovered, Recovered { snapshot: None, steps: (1..=12).map(recorded).collect() });
    says.ok("step by the next owner", log.step(&next, &step(13, &[])).await);
}

async fn alerts_are_kept_once(log: &impl AlertLog) {
    let says = Sentence("a step stores its alerts and their outbox rows");
    let lease = acquire(says, log).await;
    says.ok("step", log.step(&lease, &step(1, &["a", "b"])).await);
    let kept = says.ok("alerts", log.alerts(None, 9).await);
    let newest: Vec<_> = kept.iter().map(|(_, alert)| alert.id.as_str()).collect();
    says.equal("alerts, the newest first", newest, vec!["b", "a"]);
    let says = Sentence("an alert whose id is already stored is neither stored nor published again");
    let mut changed = step(2, &["c", "a", "c"]);
    changed.alerts[1].title = "another title".into();
    says.ok("step", log.step(&lease, &changed).await);
    let kept = says.ok("alerts", log.alerts(None, 9).await);
    says.equal("ids", kept.iter().map(|(_, a)| a.id.as_str()).collect::<Vec<_>>(), vec!["c", "b", "a"]);
    says.equal("the first's content", &kept[2].1, &alert("a"));
    let outbox = says.ok("outbox", log.outbox(9).await);
    let ids_out: Vec<_> = outbox.iter().map(|r| r.notification.id.as_str()).collect();
    says.equal("outbox", ids_out, vec!["a", "b", "c"]);
    says.ok("mark_published", log.mark_published(&lease, outbox[2].seq, &Positions::new()).await);
    says.ok("step", log.step(&lease, &step(3, &["b"])).await);
    says.equal("outbox after a published alert was repeated", says.ok("outbox", log.outbox(9).await), vec![]);
}

async fn a_snapshot_replaces_the_steps_it_includes(log: &impl AlertLog) {
    let says = Sentence("save_snapshot deletes the steps that the snapshot includes, and no later ones");
    let lease = acquire(says, log).await;
    for number in 1..=5 {
        says.ok("step", log.step(&lease, &step(number, &[])).await);
    }
    let exact =
        |key: &str, state: u8| ExactState { rule: "milestone".into(), key: key.into(), state: vec![state] };
    let states = [exact("p", 1), exact("q", 2)];
    says.ok("save_snapshot", save(log, &lease, snapshot(3), &states).await);
    let expected = Recovered { snapshot: Some(snapshot(3)), steps: vec![recorded(4), recorded(5)] };
    says.equal("recovered", says.ok("recover", log.recover(&lease).await), expected);
    says.ok("step", log.step(&lease, &step(6, &[])).await);
    says.ok("save_snapshot", save(log, &lease, snapshot(6), &[exact("q", 9)]).await);
    let expected = Recovered { snapshot: Some(snapshot(6)), steps: vec![] };
    says.equal("recovered", says.ok("recover", log.recover(&lease).await), expected);
    says.fails("step 6 again", log.step(&lease, &step(6, &[])).await, ErrorKind::Gap);
    says.ok("step after a snapshot of all", log.step(&lease, &step(7, &[])).await);
    let says = Sentence("exact states are those at the last snapshot, in the order of the keys");
    let read = says.ok("exact_states", log.exact_states("milestone", &["q", "none", "p"]).await);
    says.equal("states", read, vec![Some(vec![9]), None, Some(vec![1])]);
    let other = says.ok("exact_states", log.exact_states("other", &["q"]).await);
    says.equal("states of another rule", other, vec![None]);
}

async fn a_snapshot_is_kept_whole_or_not_at_all(log: &impl AlertLog) {
    let says =
        Sentence("save_snapshot is one transaction: a snapshot in pieces is stored as a whole or not at all");
    let lease = acquire(says, log).await;
    for number in 1..=2 {
        says.ok("step", log.step(&lease, &step(number, &[])).await);
    }
    // This is more than any backend sends at once.
    let long: Vec<u8> = (0..1_000_003u32).map(|i| (i % 251) as u8).collect();
    let keys: Vec<String> = (0..12_001).map(|i| format!("post:{i:05}")).collect();
    let exact = |state: u8| {
        let of = |key: &String| ExactState { rule: "milestone".into(), key: key.clone(), state: vec![state] };
        keys.iter().map(of).collect::<Vec<_>>()
    };
    let mut kept = snapshot(1);
    kept.states.insert(1, ("long".into(), long));
    let whole = WholeStates { states: kept.states.clone(), exact: exact(1) };
    let pieces = InPieces { whole, size: 70_001, broken: false };
    says.ok("save_snapshot", log.save_snapshot(&lease, kept.step, &kept.positions, &pieces).await);
    let whole = WholeStates { states: snapshot(2).states, exact: exact(2) };
    let broken = InPieces { whole, size: 2, broken: true };
    let saved = log.save_snapshot(&lease, 2, &snapshot(2).positions, &broken).await;
    says.fails("save_snapshot with an error in its pieces", saved, ErrorKind::Fatal);
    let expected = Recovered { snapshot: Some(kept), steps: vec![recorded(2)] };
    says.holds(says.ok("recover", log.recover(&lease).await) == expected, "another snapshot is recovered");
    let asked: Vec<_> = keys.iter().map(String::as_str).collect();
    let read = says.ok("exact_states", log.exact_states("milestone", &asked).await);
    says.holds(read == vec![Some(vec![1]); keys.len()], "the exact states differ from those of the snapshot");
}

async fn a_dropped_step_is_whole_or_nothing(log: &impl AlertLog) {
    let says = Sentence("step is one transaction: if it is dropped, it was written as a whole or not at all");
    let mut number = 1;
    for round in 0..10 {
        // Each round has another owner, so that a step of the previous owner that is still running
        // is refused.
        let (owner, now) = (["one", "two"][round % 2], at(60 * round as i64));
        let lease = take_over(says, log, owner, now).await;
        let steps = says.ok("recover", log.recover(&lease).await).steps.len() as u64;
        let alerts = says.ok("alerts", log.alerts(None, 99).await).len() as u64;
        says.holds(steps + 1 == number || steps + 2 == number, format_args!("{steps} steps before {number}"));
        says.equal("alerts", alerts, steps);
        number = steps + 1;
        drop_half_way(log.step(&lease, &step(number, &[&format!("s{number}")]))).await;
        number += 1;
    }
}
