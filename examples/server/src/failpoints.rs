//! For the kill tests: ends the process, as `kill -9` does, when a named stage is reached.

/// Reads `FEEDKIT_FAILPOINT=STAGE:N`. The process ends when it reaches `STAGE` for the `N`th time.
#[allow(clippy::print_stderr, reason = "a test reads it")]
pub fn arm() {
    let Ok(text) = std::env::var("FEEDKIT_FAILPOINT") else { return };
    let parsed = text.split_once(':').and_then(|(stage, nth)| {
        let stage = feedkit_core::failpoint::stage::ALL.into_iter().find(|s| *s == stage)?;
        Some((stage, nth.parse().ok()?))
    });
    let Some((stage, nth)) = parsed else {
        eprintln!("FEEDKIT_FAILPOINT={text} is not STAGE:N");
        std::process::exit(2);
    };
    let die = move || {
        eprintln!("failpoint {stage}");
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    };
    if let Err(error) = feedkit_core::failpoint::arm(stage, nth, die) {
        eprintln!("{error}");
        std::process::exit(2);
    }
}
