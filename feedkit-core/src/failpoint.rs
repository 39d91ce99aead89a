//! Named crash points. Without the feature `failpoints` they compile to nothing.

/// Places where a test may end the process.
pub mod stage {
    /// Records are written to the log, not yet durable.
    pub const INGEST: &str = "ingest";
    /// A batch is about to be committed.
    pub const BEFORE_COMMIT: &str = "before-commit";
    /// A batch is committed, nobody knows yet.
    pub const AFTER_COMMIT: &str = "after-commit";
    /// A follower has been handed entries.
    pub const FOLLOWER: &str = "follower";
    /// A snapshot of the rules' states is being written.
    pub const SNAPSHOT: &str = "snapshot";
    /// An alert step is being written.
    pub const ALERT_STEP: &str = "alert-step";
    /// Notifications are published, not yet marked.
    pub const RELAY: &str = "relay";
    /// Retention is dropping data.
    pub const RETENTION: &str = "retention";
    /// A follower is being rebuilt.
    pub const REBUILD: &str = "rebuild";

    /// All of them.
    pub const ALL: [&str; 9] =
        [INGEST, BEFORE_COMMIT, AFTER_COMMIT, FOLLOWER, SNAPSHOT, ALERT_STEP, RELAY, RETENTION, REBUILD];
}

/// A place where a test may end the process; see [`stage`].
#[inline(always)]
pub fn reach(stage: &'static str) {
    #[cfg(feature = "failpoints")]
    fail::eval(stage, |_| ());
    #[cfg(not(feature = "failpoints"))]
    let _ = stage;
}

/// Calls `then` when `stage` is reached for the `nth` time (from 1).
#[cfg(feature = "failpoints")]
pub fn arm(stage: &'static str, nth: u64, then: impl Fn() + Send + Sync + 'static) -> Result<(), String> {
    let reached = std::sync::atomic::AtomicU64::new(0);
    fail::cfg_callback(stage, move || {
        if reached.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == nth {
            then();
        }
    })
}
