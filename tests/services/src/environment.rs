//! Variables of the environment, unused names and ports, and how a test waits.

use std::time::Duration;

/// How long a test waits for what must happen.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// The value of a variable that names a service. A test that needs it must be under the macro
/// that ignores the test otherwise.
///
/// # Panics
///
/// Without the variable.
pub fn given(name: &str) -> String {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.unwrap_or_else(|| panic!("{name} is not set"))
}

/// A name that no other test uses, in this run or another.
pub fn unique(what: &str) -> String {
    format!("{what}_{:016x}", rand::random::<u64>())
}

/// A port of this machine on which nobody listens.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Tries again and again until the condition holds.
///
/// # Panics
///
/// If the condition does not hold within [`DEADLINE`].
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
