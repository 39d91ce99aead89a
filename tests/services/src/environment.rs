use std::time::Duration;

/// The longest that anything which must happen may take.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A variable that names a service, or `None` when the test is to be skipped.
pub fn given(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        skip(&format!("{name} is not set"));
    }
    value
}

/// Says why a test does not run, and fails where everything must.
///
/// # Panics
///
/// With `CI=true` in the environment.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    // Cargo says whose tests it runs.
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "feedkit".to_owned());
    eprintln!("skipped: {package}: {why}");
}

/// A name that no other test, of this run or another, has.
pub fn unique(what: &str) -> String {
    format!("{what}_{:016x}", rand::random::<u64>())
}

/// A port of this machine at which nobody listens.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Tries until it holds.
///
/// # Panics
///
/// If it does not within [`DEADLINE`].
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "does not come about: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
