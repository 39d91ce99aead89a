//! The paths that take writes, and the methods of each route.

pub(super) const EVENTS: &str = "/api/events";
pub(super) const BATCH: &str = "/api/events/batch";

/// The methods of a route, for `Allow`. Only events are written; all else is read.
pub(super) fn methods(pattern: &str) -> &'static str {
    // A gateway may be nested below another path.
    if pattern.ends_with(EVENTS) || pattern.ends_with(BATCH) { "POST" } else { "GET, HEAD" }
}
