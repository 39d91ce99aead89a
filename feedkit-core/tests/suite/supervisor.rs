//! The supervisor: the order of stopping, and every way in which a part can fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use feedkit_core::supervisor::{Cause, Part, PartFailed, PartState, Supervisor};
use feedkit_core::testkit::ManualClock;
use feedkit_core::{Error, ErrorKind, Result, Timestamp};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What happened, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// A part that takes `stopping` to stop, and notes when it begins and ends.
    fn part(&self, name: &'static str, stopping: Duration) -> Part {
        let journal = self.clone();
        Part::new(name, move |stop| async move {
            let _dropped = Dropped(journal.clone(), name);
            stop.cancelled().await;
            journal.add(format!("{name} asked"));
            sleep(stopping).await;
            journal.add(format!("{name} ended"));
            Ok(())
        })
    }
}

/// Notes that a part's future is gone.
struct Dropped(Journal, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(format!("{} dropped", self.1));
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A token that is cancelled in a second.
fn in_a_second() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        sleep(SECOND).await;
        cancelled.cancel();
    });
    token
}

#[tokio::test(start_paused = true)]
async fn parts_are_stopped_one_after_another_in_their_order() {
    let journal = Journal::default();
    let supervisor = Supervisor::builder()
        .with_part(journal.part("gateway", 2 * SECOND))
        .with_part(journal.part("pipeline", SECOND))
        .with_part(journal.part("relay", Duration::ZERO))
        .build();
    let handle = supervisor.handle();
    assert!(handle.status().iter().all(|part| part.state == PartState::Pending));
    let started = Instant::now();
    supervisor.run(in_a_second()).await.unwrap();
    assert_eq!(started.elapsed(), 4 * SECOND);
    let expected = ["gateway", "pipeline", "relay"]
        .into_iter()
        .flat_map(|part| ["asked", "ended", "dropped"].map(|what| format!("{part} {what}")));
    assert_eq!(journal.lines(), expected.collect::<Vec<_>>());
    assert!(handle.status().iter().all(|part| part.state == PartState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_its_condition_does_and_returns_the_output() {
    let journal = Journal::default();
    let supervisor = Supervisor::builder().with_part(journal.part("pipeline", SECOND)).build();
    let handle = supervisor.handle();
    let condition = async {
        sleep(SECOND).await;
        assert_eq!(handle.state("pipeline"), Some(PartState::Running));
        42
    };
    assert_eq!(supervisor.run_until(condition).await.unwrap(), 42);
    assert_eq!(journal.lines(), ["pipeline asked", "pipeline ended", "pipeline dropped"]);
    // Also without parts.
    assert_eq!(Supervisor::builder().build().run_until(async { 43 }).await.unwrap(), 43);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_stops_the_others_in_order_and_is_named() {
    let journal = Journal::default();
    let now = Timestamp::from_millis(1_735_689_600_000);
    let supervisor = Supervisor::builder()
        .with_part(journal.part("gateway", SECOND))
        .part("pipeline", |_| async {
            sleep(SECOND).await;
            Err(Error::corrupt("the history is damaged"))
        })
        .with_part(journal.part("relay", SECOND))
        .clock(ManualClock::at(now))
        .build();
    let handle = supervisor.handle();
    let failed = supervisor.run(CancellationToken::new()).await.unwrap_err();
    assert_eq!((failed.part(), failed.first().since), ("pipeline", now));
    assert!(matches!(&failed.first().cause, Cause::Error(error) if error.kind() == ErrorKind::Corrupt));
    assert!(failed.later().is_empty());
    let order: Vec<_> = journal.lines().into_iter().filter(|line| !line.ends_with("dropped")).collect();
    assert_eq!(order, ["gateway asked", "gateway ended", "relay asked", "relay ended"]);
    let reason = "the history is damaged".to_owned();
    assert_eq!(handle.state("pipeline"), Some(PartState::Failed { reason, since: now }));
    assert_eq!(handle.state("relay"), Some(PartState::Stopped));
    let error = Error::from(failed);
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Corrupt, "pipeline: the history is damaged")
    );
}

#[tokio::test(start_paused = true)]
async fn failures_while_stopping_count_for_more_than_the_condition_and_all_are_kept() {
    let failing = |name, error: &'static str| {
        Part::new(name, move |stop: CancellationToken| async move {
            stop.cancelled().await;
            Err(Error::fatal(error))
        })
    };
    let supervisor = Supervisor::builder()
        .with_part(failing("pipeline", "the last commit failed"))
        .with_part(failing("relay", "the sink is closed"))
        .build();
    let failed = supervisor.run_until(sleep(SECOND)).await.unwrap_err();
    let all = std::iter::once(failed.first()).chain(failed.later());
    assert_eq!(all.map(|f| f.part.as_str()).collect::<Vec<_>>(), ["pipeline", "relay"]);
    assert_eq!(failed.to_string(), "pipeline: the last commit failed; then relay: the sink is closed");
    // What the part said last is kept as the source.
    let error = Error::from(failed);
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<PartFailed>());
    assert_eq!(source.map(|failed| failed.later().len()), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_ends_early_has_failed() {
    let journal = Journal::default();
    let supervisor = Supervisor::builder()
        .part("relay", |_| async {
            sleep(SECOND).await;
            Ok(())
        })
        .with_part(journal.part("pipeline", SECOND))
        .build();
    let failed = supervisor.run(CancellationToken::new()).await.unwrap_err();
    assert_eq!(failed.part(), "relay");
    assert!(matches!(failed.first().cause, Cause::Ended), "{failed}");
    assert_eq!(failed.to_string(), "relay: it ended although nobody had asked it to stop");
    assert_eq!(journal.lines().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_panics_has_failed_and_says_so() {
    for (owned, text) in [(false, "a bug"), (true, "bug 7")] {
        let journal = Journal::default();
        let supervisor = Supervisor::builder()
            .part("relay", move |_| async move {
                sleep(SECOND).await;
                match owned {
                    true => panic!("bug {}", 7),
                    false => panic!("a bug"),
                }
            })
            .with_part(journal.part("pipeline", SECOND))
            .build();
        let failed = supervisor.run(CancellationToken::new()).await.unwrap_err();
        assert_eq!(failed.part(), "relay");
        assert!(matches!(&failed.first().cause, Cause::Panicked(said) if said == text), "{failed}");
        assert_eq!(journal.lines().len(), 3);
    }
    // The function itself, before there is a future.
    let supervisor = Supervisor::builder()
        .part("relay", |_| -> std::future::Ready<Result<()>> { panic!("no future") })
        .build();
    let failed = supervisor.run(CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&failed.first().cause, Cause::Panicked(said) if said == "no future"), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_does_not_stop_is_cut_off_and_the_next_is_stopped() {
    let journal = Journal::default();
    let supervisor = Supervisor::builder()
        .with_part(journal.part("pipeline", 100 * SECOND).deadline(2 * SECOND))
        .with_part(journal.part("relay", SECOND))
        .build();
    let started = Instant::now();
    let failed = supervisor.run(in_a_second()).await.unwrap_err();
    assert_eq!(started.elapsed(), 4 * SECOND);
    assert_eq!(failed.part(), "pipeline");
    assert!(matches!(failed.first().cause, Cause::Overdue(within) if within == 2 * SECOND), "{failed}");
    assert_eq!(Error::from(failed).kind(), ErrorKind::Uncertain);
    assert_eq!(
        journal.lines(),
        ["pipeline asked", "pipeline dropped", "relay asked", "relay ended", "relay dropped"]
    );
}

#[tokio::test(start_paused = true)]
async fn all_parts_together_have_a_deadline_and_the_last_still_get_a_moment() {
    let journal = Journal::default();
    let supervisor = Supervisor::builder()
        .with_part(journal.part("pipeline", 100 * SECOND))
        .with_part(journal.part("relay", Duration::from_millis(10)))
        .with_part(journal.part("probes", SECOND))
        .drain(3 * SECOND)
        .build();
    let started = Instant::now();
    let failed = supervisor.run(in_a_second()).await.unwrap_err();
    assert!(started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
    assert_eq!(
        (failed.part(), failed.later().len(), failed.later()[0].part.as_str()),
        ("pipeline", 1, "probes")
    );
    assert!(journal.lines().contains(&"relay ended".to_owned()), "{:?}", journal.lines());
    assert!(journal.lines().contains(&"probes dropped".to_owned()), "{:?}", journal.lines());
}

#[tokio::test(start_paused = true)]
async fn a_part_is_stopped_after_its_condition_or_after_the_time_for_it() {
    for (takes, waits) in [(SECOND, SECOND), (100 * SECOND, 5 * SECOND)] {
        let journal = Journal::default();
        let noted = journal.clone();
        let published = async move {
            sleep(takes).await;
            noted.add("published");
            Ok(())
        };
        let supervisor = Supervisor::builder()
            .with_part(journal.part("gateway", Duration::ZERO))
            .with_part(journal.part("pipeline", Duration::ZERO).stop_after(published, 5 * SECOND))
            .build();
        let started = Instant::now();
        supervisor.run(in_a_second()).await.unwrap();
        // The condition is asked when the gateway has ended.
        assert_eq!(started.elapsed(), SECOND + waits);
        let all = ["gateway asked", "gateway ended", "gateway dropped", "published", "pipeline asked"];
        let expected: Vec<_> =
            all.into_iter().filter(|line| takes < waits * 2 || *line != "published").collect();
        assert_eq!(journal.lines()[..expected.len()], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_when_a_part_has_failed() {
    let never = std::future::pending::<Result<()>>;
    let journal = Journal::default();
    let failing = |after: Duration| {
        Part::new("relay", move |_| async move {
            sleep(after).await;
            Err(Error::fatal("the sink is closed"))
        })
    };
    // Before the shutdown, and while the condition is waited for.
    for (fails_after, ends_after) in [(SECOND / 2, SECOND / 2), (3 * SECOND, 3 * SECOND)] {
        let supervisor = Supervisor::builder()
            .with_part(journal.part("pipeline", Duration::ZERO).stop_after(never(), 100 * SECOND))
            .with_part(failing(fails_after))
            .drain(1000 * SECOND)
            .build();
        let started = Instant::now();
        let failed = supervisor.run(in_a_second()).await.unwrap_err();
        assert_eq!((failed.part(), started.elapsed()), ("relay", ends_after));
    }
    // A condition that fails is no failure of the part.
    let unknown = async { Err(Error::retriable("the outbox cannot be read")) };
    let part = journal.part("pipeline", Duration::ZERO).stop_after(unknown, 100 * SECOND);
    Supervisor::builder().with_part(part).build().run(in_a_second()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_leaves_no_task() {
    let journal = Journal::default();
    let supervisor = Supervisor::builder()
        .with_part(journal.part("pipeline", SECOND))
        .with_part(journal.part("relay", SECOND))
        .build();
    let handle = supervisor.handle();
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let run = supervisor.run(CancellationToken::new());
    assert!(tokio::time::timeout(SECOND, run).await.is_err());
    tokio::task::yield_now().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before);
    let mut lines = journal.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["pipeline dropped", "relay dropped"]);
    assert!(handle.status().iter().all(|part| part.state == PartState::Stopped));
    // Also while it stops them.
    let supervisor = Supervisor::builder().with_part(journal.part("pipeline", 100 * SECOND)).build();
    assert!(tokio::time::timeout(3 * SECOND, supervisor.run(in_a_second())).await.is_err());
    tokio::task::yield_now().await;
    assert_eq!(journal.lines()[2..], ["pipeline asked", "pipeline dropped"]);
}

#[test]
#[should_panic(expected = "two parts are named \"relay\"")]
fn two_parts_of_one_name_are_refused() {
    let journal = Journal::default();
    let (one, other) = (journal.part("relay", SECOND), journal.part("relay", SECOND));
    Supervisor::builder().with_part(one).with_part(other).build();
}
