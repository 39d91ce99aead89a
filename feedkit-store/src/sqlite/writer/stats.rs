//! Figures about a writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Figures about a file's writer since the file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitStats {
    /// The number of jobs, such as appends, commits of batches and steps.
    pub jobs: u64,
    /// The number of transactions in which they were committed. Each needs one sync of the disk.
    pub groups: u64,
    /// How long the longest commit took.
    pub longest_commit: Duration,
}

/// The counters behind [`CommitStats`].
#[derive(Debug, Default)]
pub(super) struct Stats {
    jobs: AtomicU64,
    groups: AtomicU64,
    longest_commit_micros: AtomicU64,
}

impl Stats {
    /// Counts a group of `jobs` jobs.
    pub(super) fn add_group(&self, jobs: usize) {
        self.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long a commit took.
    pub(super) fn note_commit(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_commit_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// The figures so far.
    pub(super) fn read(&self) -> CommitStats {
        CommitStats {
            jobs: self.jobs.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            longest_commit: Duration::from_micros(self.longest_commit_micros.load(Ordering::Relaxed)),
        }
    }
}
