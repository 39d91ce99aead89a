//! What the sums say of an event, as expressions over the table of events.

/// The start of the hour of an event's own time.
pub(in super::super) const HOUR: &str = "date_bin('1 hour', time, timestamptz 'epoch')";

/// The kind of the counter that an event's effect changes.
pub(in super::super) const KIND: &str = "CASE kind WHEN 'unlike' THEN 'like' ELSE kind END";
