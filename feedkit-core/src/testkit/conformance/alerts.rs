//! The suite of [`Alerts`].

use super::sentence::Sentence;
use super::steps::{acquire, alert, step};
use crate::alert_log::AlertLog;
use crate::alerts::Alerts;

/// Tests the contract of [`Alerts`]. The suite writes the alerts through the [`AlertLog`] of the
/// same value.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn alerts<L: AlertLog>(fresh: impl AsyncFn() -> L) {
    alerts_come_newest_first(&fresh().await).await;
    pages_are_complete_and_repeat_nothing(&fresh().await).await;
}

/// Returns the numbers and the ids of a page.
async fn page(says: Sentence, log: &dyn Alerts, before: Option<u64>, limit: usize) -> Vec<(u64, String)> {
    let page = says.ok("alerts", log.alerts(before, limit).await);
    page.into_iter().map(|(number, alert)| (number, alert.id)).collect()
}

async fn alerts_come_newest_first(log: &impl AlertLog) {
    let says =
        Sentence("alerts come in the order in which they were written, newest first, each with a number");
    says.equal("alerts at first", says.ok("alerts", log.alerts(None, 9).await), vec![]);
    let lease = acquire(says, log).await;
    says.ok("step", log.step(&lease, &step(1, &["z", "a"])).await);
    says.ok("step", log.step(&lease, &step(2, &["m"])).await);
    let kept: Vec<_> = says.ok("alerts", log.alerts(None, 9).await).into_iter().map(|(_, a)| a).collect();
    says.equal("alerts", kept, ["m", "a", "z"].map(alert).to_vec());
}

async fn pages_are_complete_and_repeat_nothing(log: &impl AlertLog) {
    let says =
        Sentence("pages of alerts are complete and repeat nothing, even if alerts are written in between");
    let lease = acquire(says, log).await;
    says.ok("step", log.step(&lease, &step(1, &["a", "b", "c", "d"])).await);
    says.equal("a page of nothing", page(says, log, None, 0).await, vec![]);
    for size in 1..4 {
        let mut paged: Vec<(u64, String)> = Vec::new();
        while paged.len() < 9 {
            let next = page(says, log, paged.last().map(|(number, _)| *number), size).await;
            says.holds(
                next.len() <= size,
                format_args!("a page has {} alerts, but the limit is {size}", next.len()),
            );
            if next.is_empty() {
                break;
            }
            if paged.is_empty() {
                // The reader already has the newest alerts, so no page contains the later ones.
                let number = 1 + size as u64;
                says.ok("step", log.step(&lease, &step(number, &[&format!("later {number}")])).await);
            }
            paged.extend(next);
        }
        let ids: Vec<_> = paged.iter().map(|(_, id)| id.as_str()).filter(|id| id.len() == 1).collect();
        says.equal("paged", ids, vec!["d", "c", "b", "a"]);
        let later = paged.iter().filter(|(_, id)| *id == format!("later {}", 1 + size)).count();
        says.equal("alerts written while paging", later, 0);
    }
}
