//! The state of a partition in a source.

use feedkit_core::Offset;
use feedkit_core::source::Resume;
use tokio::sync::oneshot;

use super::read::Ready;

/// One partition of a source.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) paused: bool,
    /// What was read and not yet yielded. Nothing more of the partition is read until then.
    pub(super) ready: Option<Ready>,
}

/// How far a partition is ready to be read.
#[derive(Debug)]
pub(super) enum Phase {
    /// Not assigned to this source.
    Away,
    /// To be assigned.
    New,
    /// Assigned. The answer is still missing.
    Asked(oneshot::Receiver<Resume>),
    /// Answered. The answer must be compared with the log's records.
    Answered(Resume),
    /// Read up to this offset.
    Reading(Offset),
    /// Stopped: the reader dropped the assignment, or there is a gap.
    Stopped,
}

impl Phase {
    /// Whether this answer is the one that waits to be compared.
    pub(super) fn is_answered(&self, with: Resume) -> bool {
        matches!(self, Phase::Answered(resume) if *resume == with)
    }

    /// Whether the partition was read up to `from`.
    pub(super) fn is_reading(&self, from: Offset) -> bool {
        matches!(self, Phase::Reading(at) if *at == from)
    }
}
