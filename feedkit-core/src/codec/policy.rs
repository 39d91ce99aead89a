//! The policy of which events are accepted, and the checks of their fields.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fault::{InvalidEvent, InvalidReason};
use crate::event::{MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES, MAX_TEXT_CHARS};
use crate::wire::WireEvent;
use crate::{Event, EventId, EventKind, PostId, Timestamp, UserId};

/// Decides which events are accepted.
///
/// ```
/// use std::time::Duration;
/// use feedkit_core::EventPolicy;
///
/// let policy = EventPolicy::default()
///     .extra_kinds(["share".to_owned()].into())
///     .max_skew(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventPolicy {
    /// Which kinds are accepted besides `like`, `unlike`, `post` and `comment`.
    pub extra_kinds: BTreeSet<String>,
    /// How far after the reference time the time of an event and the time of its id may be.
    pub max_skew: Duration,
    /// How old the **id** of an event may be, measured from the reference time. An older id could
    /// belong to a repeat of an event that is no longer stored.
    pub horizon: Duration,
}

impl Default for EventPolicy {
    /// Accepts the four standard kinds, up to five minutes ahead, with ids of the last ten years.
    fn default() -> Self {
        EventPolicy {
            extra_kinds: BTreeSet::new(),
            max_skew: Duration::from_secs(300),
            horizon: Duration::from_secs(3653 * 86_400),
        }
    }
}

/// Values for what an event does not contain, and the time that its own times are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The current time of the gateway, or the time of the record in the log.
    pub reference: Timestamp,
    /// The id of an event without one.
    pub id: EventId,
    /// The time of an event without one.
    pub time: Timestamp,
}

impl EventPolicy {
    /// Sets `extra_kinds`.
    #[must_use]
    pub fn extra_kinds(mut self, extra_kinds: BTreeSet<String>) -> Self {
        self.extra_kinds = extra_kinds;
        self
    }

    /// Sets `max_skew`.
    #[must_use]
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.max_skew = max_skew;
        self
    }

    /// Sets `horizon`.
    #[must_use]
    pub fn horizon(mut self, horizon: Duration) -> Self {
        self.horizon = horizon;
        self
    }

    /// Completes `wire` with `defaults`, checks the result, and returns the event.
    pub fn admit(&self, wire: WireEvent<'_>, defaults: &Defaults) -> Result<Event, InvalidEvent> {
        let user = required("userId", wire.user_id.as_deref(), |t| UserId::new(t))?;
        let post = required("postId", wire.post_id.as_deref(), |t| PostId::new(t))?;
        let kind = self.kind(wire.kind.as_deref())?;
        let id = optional("id", wire.id.as_deref(), str::parse)?.unwrap_or(defaults.id);
        let time = optional("timestamp", wire.timestamp.as_deref(), str::parse)
            .map_err(|e| InvalidEvent { detail: format!("is {}", e.detail), ..e })?
            .unwrap_or(defaults.time);
        let received_at = optional("receivedAt", wire.received_at.as_deref(), str::parse)
            .map_err(|e| InvalidEvent { detail: format!("is {}", e.detail), ..e })?;
        self.check_times(id, time, defaults.reference)?;
        let text = wire.text.map(std::borrow::Cow::into_owned);
        check_text(text.as_deref(), &kind)?;
        check_attributes(&wire.attributes)?;
        Ok(Event { id, user, post, kind, time, received_at, text, attributes: wire.attributes })
    }

    fn kind(&self, name: Option<&str>) -> Result<EventKind, InvalidEvent> {
        let name = name.ok_or_else(|| InvalidEvent::of("type", "is missing"))?;
        match EventKind::new(name) {
            Some(EventKind::Other(_)) if !self.extra_kinds.contains(name) => {}
            Some(kind) => return Ok(kind),
            None => {}
        }
        let extra: String = self.extra_kinds.iter().map(|k| format!(", {k}")).collect();
        let shown: String = name.chars().take(40).collect();
        let detail = format!("is {shown:?}; the allowed values are like, unlike, post, comment{extra}");
        Err(InvalidEvent::of("type", detail))
    }

    fn check_times(&self, id: EventId, time: Timestamp, reference: Timestamp) -> Result<(), InvalidEvent> {
        let latest = reference.saturating_add(self.max_skew);
        if time > latest {
            let detail = format!("is {time}, which is more than {:?} after {reference}", self.max_skew);
            return Err(InvalidEvent::of("timestamp", detail).because(InvalidReason::TooNew));
        }
        if time < Timestamp::EPOCH {
            return Err(InvalidEvent::of(
                "timestamp",
                format!("is {time}; the earliest allowed time is 1970-01-01T00:00:00Z"),
            ));
        }
        if id.time() > latest {
            let detail = format!(
                "was created at {}, which is more than {:?} after {reference}",
                id.time(),
                self.max_skew
            );
            return Err(InvalidEvent::of("id", detail).because(InvalidReason::TooNew));
        }
        let oldest = reference.saturating_sub(self.horizon);
        if id.time() < oldest {
            let detail = format!("was created at {}; the oldest accepted time is {oldest}", id.time());
            return Err(InvalidEvent::of("id", detail).because(InvalidReason::TooOld));
        }
        Ok(())
    }
}

fn required<T, E: std::fmt::Display>(
    field: &str,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, InvalidEvent> {
    optional(field, text, read)?.ok_or_else(|| InvalidEvent::of(field, "is missing"))
}

fn optional<T, E: std::fmt::Display>(
    field: &str,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, InvalidEvent> {
    text.map(read).transpose().map_err(|e| InvalidEvent::of(field, e.to_string()))
}

fn check_text(text: Option<&str>, kind: &EventKind) -> Result<(), InvalidEvent> {
    let Some(text) = text else { return Ok(()) };
    if !matches!(kind, EventKind::Post | EventKind::Comment) {
        return Err(InvalidEvent::of(
            "text",
            format!("is allowed in posts and comments only; this event is a {kind}"),
        ));
    }
    // Counts the characters only if there are more bytes than allowed characters.
    if text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS {
        return Err(InvalidEvent::of("text", format!("is longer than {MAX_TEXT_CHARS} characters")));
    }
    if text.contains('\0') {
        return Err(InvalidEvent::of("text", "contains a NUL character"));
    }
    Ok(())
}

fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), InvalidEvent> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(InvalidEvent::of("attributes", format!("has more than {MAX_ATTRIBUTES} entries")));
    }
    for (name, value) in attributes {
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME || name.contains('\0') {
            let detail = format!(
                "has a name that is empty, longer than {MAX_ATTRIBUTE_NAME} bytes, or contains a NUL character"
            );
            return Err(InvalidEvent::of("attributes", detail));
        }
        if value.len() > MAX_ATTRIBUTE_VALUE || value.contains('\0') {
            let detail = format!("is longer than {MAX_ATTRIBUTE_VALUE} bytes or contains a NUL character");
            return Err(InvalidEvent::of(format!("attributes.{name}"), detail));
        }
    }
    Ok(())
}
