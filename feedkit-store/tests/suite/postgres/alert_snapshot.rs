//! Snapshots that fail while a state is being sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use feedkit_core::alert_log::{AlertLog, AlertStep, ExactStates, Pieces, RuleStates, WholeStates};
use feedkit_core::{Error, Positions, Timestamp};
use feedkit_test_services::{apply, needs_postgres};

use super::support::{Databases, connect, options};

/// How a state ends when it is read for the second time.
#[derive(Debug, Clone, Copy)]
enum Again {
    Fails,
    IsShorter,
    IsLonger,
}

/// A state of ten pieces of 70,000 bytes, when it is read for the first time.
struct Unsteady {
    told: AtomicUsize,
    again: Again,
}

impl RuleStates for Unsteady {
    fn rules(&self) -> Vec<&str> {
        vec!["spike"]
    }

    fn state<'a>(&'a self, _: &str) -> Pieces<'a> {
        let first = self.told.fetch_add(1, Ordering::Relaxed) == 0;
        let pieces = |count: usize| (0..count).map(|i| Ok(vec![i as u8; 70_000]));
        match self.again {
            _ if first => Box::new(pieces(10)),
            Again::Fails => Box::new(pieces(9).chain([Err(Error::fatal("a state cannot be written"))])),
            Again::IsShorter => Box::new(pieces(9)),
            Again::IsLonger => Box::new(pieces(11)),
        }
    }

    fn exact(&self) -> ExactStates<'_> {
        Box::new(std::iter::empty())
    }
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn one_that_breaks_off_in_the_middle_of_a_state_changes_nothing() {
    let databases = Databases::new();
    let mut options = options(&databases.url().await);
    // The next call uses the connection on which the snapshot failed.
    options.pool_size = 1;
    let log = connect(options).await.alert_log();
    let lease = log.acquire("a", Timestamp::EPOCH, Duration::from_secs(9)).await.unwrap().unwrap();
    for number in 1..=2 {
        let step = AlertStep { number, watermark: Timestamp::EPOCH, consumed: vec![], alerts: vec![] };
        log.step(&lease, &step).await.unwrap();
    }
    let whole = WholeStates { states: vec![("spike".to_owned(), vec![7; 200_000])], exact: vec![] };
    log.save_snapshot(&lease, 1, &Positions::new(), &whole).await.unwrap();
    let before = log.recover(&lease).await.unwrap();
    for again in [Again::Fails, Again::IsShorter, Again::IsLonger] {
        let states = Unsteady { told: AtomicUsize::new(0), again };
        let error = log.save_snapshot(&lease, 2, &Positions::new(), &states).await.unwrap_err();
        let said = error.to_string();
        let expected = if matches!(again, Again::Fails) { "cannot be written" } else { "changed while" };
        assert!(said.contains(expected), "{again:?}: {said}");
        assert_eq!(states.told.load(Ordering::Relaxed), 2, "{again:?}");
        assert!(log.recover(&lease).await.unwrap() == before, "{again:?} has changed something");
    }
    log.save_snapshot(&lease, 2, &Positions::new(), &whole).await.unwrap();
    assert!(log.recover(&lease).await.unwrap().steps.is_empty());
}
