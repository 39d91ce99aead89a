//! A partition as a source sees it.

use feedkit_core::Offset;
use feedkit_core::source::Resume;
use tokio::sync::oneshot;

use super::read::Ready;

/// One partition of a source.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) paused: bool,
    /// Read, and not yet yielded. Nothing more is read of the partition before it is.
    pub(super) ready: Option<Ready>,
}

/// How far a partition has come towards being read.
#[derive(Debug)]
pub(super) enum Phase {
    /// Not ours.
    Away,
    /// To be assigned.
    New,
    /// Assigned; the answer is to come.
    Asked(oneshot::Receiver<Resume>),
    /// Answered; to be compared with what the log holds.
    Answered(Resume),
    /// Read up to this offset.
    Reading(Offset),
    /// Given up by the one who reads, or stopped at a gap.
    Stopped,
}

impl Phase {
    /// Whether the answer waiting to be compared is this one.
    pub(super) fn is_answered(&self, with: Resume) -> bool {
        matches!(self, Phase::Answered(resume) if *resume == with)
    }

    /// Whether the partition was read up to `from`.
    pub(super) fn is_reading(&self, from: Offset) -> bool {
        matches!(self, Phase::Reading(at) if *at == from)
    }
}
