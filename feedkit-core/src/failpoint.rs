//! Named places at which a test can end the process. Without the feature `failpoints` they compile
//! to nothing.

/// The names of these places.
pub mod stage {
    /// Records are written to the log, but not yet durable.
    pub const INGEST: &str = "ingest";
    /// A batch is about to be committed.
    pub const BEFORE_COMMIT: &str = "before-commit";
    /// A batch is committed, but no other part knows it yet.
    pub const AFTER_COMMIT: &str = "after-commit";
    /// A follower has received entries.
    pub const FOLLOWER: &str = "follower";
    /// A snapshot of the states of the rules is being written.
    pub const SNAPSHOT: &str = "snapshot";
    /// An alert step is being written.
    pub const ALERT_STEP: &str = "alert-step";
    /// Notifications are published, but not yet marked as published.
    pub const RELAY: &str = "relay";
    /// Retention is dropping data.
    pub const RETENTION: &str = "retention";
    /// A follower is being rebuilt.
    pub const REBUILD: &str = "rebuild";

    /// All stages.
    pub const ALL: [&str; 9] =
        [INGEST, BEFORE_COMMIT, AFTER_COMMIT, FOLLOWER, SNAPSHOT, ALERT_STEP, RELAY, RETENTION, REBUILD];
}

/// Marks a place at which a test can end the process. See [`stage`].
#[inline(always)]
pub fn reach(stage: &'static str) {
    #[cfg(feature = "failpoints")]
    fail::eval(stage, |_| ());
    #[cfg(not(feature = "failpoints"))]
    let _ = stage;
}

/// Calls `then` when the process reaches `stage` for the `nth` time, counted from 1.
#[cfg(feature = "failpoints")]
pub fn arm(stage: &'static str, nth: u64, then: impl Fn() + Send + Sync + 'static) -> Result<(), String> {
    let reached = std::sync::atomic::AtomicU64::new(0);
    fail::cfg_callback(stage, move || {
        if reached.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == nth {
            then();
        }
    })
}
