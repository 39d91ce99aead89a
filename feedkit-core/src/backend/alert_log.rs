//! The rules of the alert lease, and of the order of steps and snapshots.
//!
//! A store keeps one [`Lease`]. A lease that was given back stays in the store, without an owner.
//! The epoch therefore increases with each change of owner, and never decreases. Each function
//! takes the lease that the store holds, or `None` before it was taken for the first time. Read the
//! lease in the transaction that writes, and lock its row, so that it cannot change in between.

use std::time::Duration;

use crate::lease::Lease;
use crate::{Error, Result, Timestamp};

/// The lease to store when `owner` asks for it, or `None` if another owner holds it and it has not
/// expired at `now`.
///
/// A lease that ends more than `ttl` after `now` was stored by a clock that was ahead, and nobody
/// can tell when it really ends. It counts as expired: if its owner is alive, the higher epoch
/// fences it. (If owners have different `ttl`s, the one with the shortest gets the lease.)
///
/// The current owner gets the lease again with the same epoch, even if it has expired. Any other
/// owner increases the epoch, which fences the previous owner.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) if the name of the owner is empty.
pub fn acquire(held: Option<&Lease>, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
    if owner.is_empty() {
        return Err(Error::invalid("the name of the owner of a lease is empty"));
    }
    let until = now.saturating_add(ttl);
    let epoch = match held {
        None => 1,
        Some(held) if held.owner == owner => held.epoch,
        Some(held) if !held.owner.is_empty() && held.until > now && held.until <= until => return Ok(None),
        Some(held) => held.epoch + 1,
    };
    Ok(Some(Lease { owner: owner.to_owned(), epoch, until }))
}

/// The lease to store when `lease` is renewed at `now`.
///
/// # Errors
///
/// The same as those of [`check_lease`].
pub fn renew(held: Option<&Lease>, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
    check_lease(held, lease)?;
    Ok(Lease { until: now.saturating_add(ttl), ..lease.clone() })
}

/// The lease to store when `lease` is given back. It has no owner, so that any owner may take it.
///
/// # Errors
///
/// The same as those of [`check_lease`].
pub fn release(held: Option<&Lease>, lease: &Lease) -> Result<Lease> {
    check_lease(held, lease)?;
    Ok(Lease { owner: String::new(), epoch: lease.epoch, until: Timestamp::EPOCH })
}

/// Checks that the store still holds `lease`. An expired lease stays valid until another owner
/// takes it.
///
/// # Errors
///
/// [`Fenced`](crate::ErrorKind::Fenced) if the lease was given back, or if another owner has taken
/// it.
pub fn check_lease(held: Option<&Lease>, lease: &Lease) -> Result<()> {
    let (owner, epoch) = held.map_or(("", 0), |held| (held.owner.as_str(), held.epoch));
    if !owner.is_empty() && owner == lease.owner && epoch == lease.epoch {
        return Ok(());
    }
    let holder = if owner.is_empty() { "nobody" } else { owner };
    Err(Error::fenced(format!(
        "the lease of {} (epoch {}) is over: {holder} holds it (epoch {epoch})",
        lease.owner, lease.epoch
    )))
}

/// Checks that the step `number` follows on `last`, the last step kept (0 before the first).
///
/// # Errors
///
/// [`Gap`](crate::ErrorKind::Gap) if it does not.
pub fn check_step(last: u64, number: u64) -> Result<()> {
    match number == last + 1 {
        true => Ok(()),
        false => Err(Error::gap(format!("alert step {number} does not follow on step {last}"))),
    }
}

/// Checks that a snapshot of `step` replaces the one of step `before` (0 without one), when `last`
/// is the last step kept: snapshots do not go back, and do not run ahead.
///
/// # Errors
///
/// [`Gap`](crate::ErrorKind::Gap) if it does not lie between them.
pub fn check_snapshot(before: u64, last: u64, step: u64) -> Result<()> {
    match (before..=last).contains(&step) {
        true => Ok(()),
        false => Err(Error::gap(format!(
            "the step {step} of an alert snapshot is not between {before} and {last}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const TTL: Duration = Duration::from_millis(10);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_lease_goes_to_another_when_it_has_run_out_or_was_given_back() {
        let a = acquire(None, "a", at(0), TTL).unwrap().unwrap();
        assert_eq!((a.epoch, a.until), (1, at(10)));
        assert_eq!(acquire(Some(&a), "b", at(9), TTL).unwrap(), None);
        let b = acquire(Some(&a), "b", at(10), TTL).unwrap().unwrap();
        assert_eq!((b.epoch, b.until), (2, at(20)));
        let free = release(Some(&a), &a).unwrap();
        assert_eq!(acquire(Some(&free), "b", at(1), TTL).unwrap().unwrap().epoch, 2);
        assert_eq!(acquire(Some(&free), "a", at(1), TTL).unwrap().unwrap().epoch, 2);
        assert_eq!(acquire(None, "", at(0), TTL).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn its_owner_keeps_the_epoch_and_may_go_on_though_it_has_run_out() {
        let a = acquire(None, "a", at(0), TTL).unwrap().unwrap();
        assert_eq!(acquire(Some(&a), "a", at(50), TTL).unwrap().unwrap().epoch, 1);
        assert_eq!(renew(Some(&a), &a, at(50), TTL).unwrap().until, at(60));
    }

    #[test]
    fn whoever_lost_the_lease_is_fenced() {
        let a = acquire(None, "a", at(0), TTL).unwrap().unwrap();
        let b = acquire(Some(&a), "b", at(10), TTL).unwrap().unwrap();
        let free = release(Some(&b), &b).unwrap();
        for (held, lease) in [(None, &a), (Some(&b), &a), (Some(&free), &b), (Some(&free), &free)] {
            assert_eq!(check_lease(held, lease).unwrap_err().kind(), ErrorKind::Fenced);
            assert_eq!(renew(held, lease, at(0), TTL).unwrap_err().kind(), ErrorKind::Fenced);
            assert_eq!(release(held, lease).unwrap_err().kind(), ErrorKind::Fenced);
        }
        let message = check_lease(Some(&b), &a).unwrap_err().to_string();
        assert_eq!(message, "the lease of a (epoch 1) is over: b holds it (epoch 2)");
    }

    #[test]
    fn steps_have_no_gaps_and_snapshots_do_not_go_back() {
        assert!(check_step(0, 1).is_ok() && check_step(4, 5).is_ok());
        assert!(check_step(4, 4).is_err() && check_step(4, 6).is_err());
        assert!(check_snapshot(2, 4, 2).is_ok() && check_snapshot(2, 4, 4).is_ok());
        assert!(check_snapshot(2, 4, 1).is_err() && check_snapshot(2, 4, 5).is_err());
    }
}
