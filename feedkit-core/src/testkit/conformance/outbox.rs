//! The suite of [`Outbox`].

use super::sentence::{Sentence, drop_half_way};
use super::steps::{acquire, alert, step, take_over};
use super::support::at;
use crate::alert_log::AlertLog;
use crate::outbox::Outbox;
use crate::{ErrorKind, Partition, Positions};

/// Tests the contract of [`Outbox`]. The suite writes the rows through the [`AlertLog`] of the same
/// value.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn outbox<L: AlertLog>(fresh: impl AsyncFn() -> L) {
    the_outbox_is_read_until_marked(&fresh().await).await;
    marks_under_an_older_lease_are_refused(&fresh().await).await;
    a_dropped_mark_is_whole_or_nothing(&fresh().await).await;
}

/// Describes everything that the outbox returns, to find out whether it has changed.
async fn see(says: Sentence, outbox: &dyn Outbox) -> String {
    let rows = says.ok("outbox", outbox.outbox(100).await);
    let published = says.ok("published", outbox.published().await);
    format!("{rows:?} {published:?}")
}

async fn the_outbox_is_read_until_marked(log: &impl AlertLog) {
    let says = Sentence(
        "rows are returned in the order in which they were written, until they are marked as published",
    );
    let lease = acquire(says, log).await;
    says.equal("published at first", says.ok("published", log.published().await), Positions::new());
    says.ok("step", log.step(&lease, &step(1, &["z", "a"])).await);
    says.ok("step", log.step(&lease, &step(2, &["m"])).await);
    let rows = says.ok("outbox", log.outbox(9).await);
    let ids: Vec<_> = rows.iter().map(|r| r.notification.clone()).collect();
    says.equal("rows", ids, ["z", "a", "m"].map(alert).to_vec());
    says.holds(rows.is_sorted_by(|a, b| a.seq < b.seq), "their numbers are not in ascending order");
    says.equal("at most two", says.ok("outbox", log.outbox(2).await), rows[..2].to_vec());
    says.equal("again", says.ok("outbox", log.outbox(9).await), rows.clone());
    let positions = Positions::from_iter([(Partition(0), 7), (Partition(2), 1)]);
    says.ok("mark_published", log.mark_published(&lease, rows[1].seq, &positions).await);
    says.equal("rows after the mark", says.ok("outbox", log.outbox(9).await), rows[2..].to_vec());
    says.equal("published", says.ok("published", log.published().await), positions);
    says.equal("alerts stay", says.ok("alerts", log.alerts(None, 9).await).len(), 3);
    says.ok("step", log.step(&lease, &step(3, &["b"])).await);
    let later = says.ok("outbox", log.outbox(9).await);
    says.holds(later.len() == 2 && later[1].seq > rows[2].seq, format_args!("later rows: {later:?}"));
}

async fn marks_under_an_older_lease_are_refused(log: &impl AlertLog) {
    let says =
        Sentence("a mark under a lease that is no longer valid is refused as fenced and changes nothing");
    let old = acquire(says, log).await;
    says.ok("step", log.step(&old, &step(1, &["a", "b"])).await);
    let new = take_over(says, log, "two", at(60)).await;
    let before = see(says, log).await;
    let rows = says.ok("outbox", log.outbox(9).await);
    let positions = Positions::from_iter([(Partition(0), 1)]);
    let marked = log.mark_published(&old, rows[0].seq, &positions).await;
    says.fails("mark_published", marked, ErrorKind::Fenced);
    says.equal("outbox", see(says, log).await, before);
    let marked = log.mark_published(&new, rows[0].seq, &positions).await;
    says.ok("mark_published under the current lease", marked);
    says.equal("rows after the mark", says.ok("outbox", log.outbox(9).await), rows[1..].to_vec());
}

async fn a_dropped_mark_is_whole_or_nothing(log: &impl AlertLog) {
    let says = Sentence("a mark moves the rows and the positions in one transaction, even if it is dropped");
    for round in 1..=10 {
        let now = 120 * round as i64;
        let lease = take_over(says, log, "one", at(now)).await;
        says.ok("step", log.step(&lease, &step(round, &[&format!("s{round}")])).await);
        let rows = says.ok("outbox", log.outbox(9).await);
        let last = rows.last().map_or(0, |row| row.seq);
        let positions = Positions::from_iter([(Partition(0), round)]);
        drop_half_way(log.mark_published(&lease, last, &positions)).await;
        // Another owner takes the lease, so that a mark that is still running is refused.
        let lease = take_over(says, log, "two", at(now + 60)).await;
        let left = says.ok("outbox", log.outbox(9).await).len();
        let published = says.ok("published", log.published().await) == positions;
        let expected = if published { 0 } else { rows.len() };
        says.equal("rows left", left, expected);
        says.ok("mark_published", log.mark_published(&lease, last, &positions).await);
        says.equal("rows after the mark", says.ok("outbox", log.outbox(9).await), vec![]);
    }
}
