//! The paths for writes, and the methods of each route.

pub(super) const EVENTS: &str = "/api/events";
pub(super) const BATCH: &str = "/api/events/batch";

/// The methods of a route, for the header `Allow`. Only the routes for events accept writes.
pub(super) fn methods(pattern: &str) -> &'static str {
    // A gateway may be nested below another path.
    if pattern.ends_with(EVENTS) || pattern.ends_with(BATCH) { "POST" } else { "GET, HEAD" }
}
