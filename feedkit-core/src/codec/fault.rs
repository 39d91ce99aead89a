//! Why a record is not a valid event.

/// Why a record is not a valid event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", self.field.as_ref().map(|f| format!("`{f}` ")).unwrap_or_default())]
pub struct InvalidEvent {
    /// The kind of fault, for programs.
    pub reason: InvalidReason,
    /// The field at fault, if the fault concerns a single field.
    pub field: Option<String>,
    /// What is wrong, for people. The text follows the field's name.
    pub detail: String,
}

/// The kind of fault of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// The record is not JSON, not UTF-8, or not an object.
    Malformed,
    /// A field is missing, unknown, or has an invalid value.
    Invalid,
    /// The event's id was created before the retention horizon.
    TooOld,
    /// The time of the event or of its id is further ahead than the maximum skew.
    TooNew,
    /// The store cannot store the event.
    Unstorable,
}

impl InvalidReason {
    /// The reason's stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            InvalidReason::Malformed => "malformed",
            InvalidReason::Invalid => "invalid",
            InvalidReason::TooOld => "too_old",
            InvalidReason::TooNew => "too_new",
            InvalidReason::Unstorable => "unstorable",
        }
    }
}

impl InvalidEvent {
    /// Creates the fault of one field.
    pub fn of(field: impl Into<String>, detail: impl Into<String>) -> Self {
        InvalidEvent { reason: InvalidReason::Invalid, field: Some(field.into()), detail: detail.into() }
    }

    /// Creates a fault of the whole record.
    pub fn malformed(detail: impl Into<String>) -> Self {
        InvalidEvent { reason: InvalidReason::Malformed, field: None, detail: detail.into() }
    }

    /// Replaces the reason.
    pub(super) fn because(mut self, reason: InvalidReason) -> Self {
        self.reason = reason;
        self
    }
}
