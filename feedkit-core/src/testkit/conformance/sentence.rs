//! A sentence of a contract, which a suite checks.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::time::Duration;

use crate::{ErrorKind, Result};

/// One sentence of a contract. Its methods panic with it when it does not hold.
#[derive(Clone, Copy)]
pub(super) struct Sentence(pub(super) &'static str);

/// How long something that must happen may take before the suite reports that it hangs.
const HANGING: Duration = Duration::from_secs(60);

impl Sentence {
    #[track_caller]
    pub(super) fn broken(self, but: impl Display) -> ! {
        panic!("does not hold: {}\n    {but}", self.0)
    }

    #[track_caller]
    pub(super) fn holds(self, condition: bool, but: impl Display) {
        if !condition {
            self.broken(but);
        }
    }

    #[track_caller]
    pub(super) fn equal<A: PartialEq<B> + Debug, B: Debug>(self, what: &str, got: A, expected: B) {
        if got != expected {
            self.broken(format_args!("{what}: {got:?}, expected {expected:?}"));
        }
    }

    /// Returns the value of a call that must succeed.
    #[track_caller]
    pub(super) fn ok<T>(self, what: &str, result: Result<T>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.broken(format_args!("{what} fails: {error:?}")),
        }
    }

    /// Checks that a call fails with this kind of error.
    #[track_caller]
    pub(super) fn fails<T: Debug>(self, what: &str, result: Result<T>, kind: ErrorKind) {
        match result {
            Err(error) if error.kind() == kind => {}
            other => self.broken(format_args!("{what} gives {other:?}, expected an error of kind {kind:?}")),
        }
    }

    /// Waits for a future that must end.
    pub(super) async fn ends<T>(self, what: &str, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(HANGING, future).await {
            Ok(value) => value,
            Err(_) => self.broken(format_args!("{what} does not come to an end")),
        }
    }
}

/// Polls a future once and drops it.
pub(super) async fn drop_half_way<T>(future: impl Future<Output = T>) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}
