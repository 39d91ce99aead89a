//! What every backend does alike, for those who write one.
//!
//! The contracts say what a store must do. Some of it does not depend on how a store keeps its
//! data: those checks and rules are here once. The backends in [`memory`](crate::memory) and in the
//! crate `feedkit-store` all use them.
//!
//! | module | used by |
//! |---|---|
//! | [`batch`] | [`History::claim`](crate::History::claim) and [`History::commit`](crate::History::commit) |
//! | [`alert_log`] | every call of an [`AlertLog`](crate::AlertLog) that takes a lease |
//! | [`verification`] | the recount that `verify` makes |

pub mod alert_log;
pub mod batch;
pub mod verification;
