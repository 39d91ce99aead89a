//! What all backends do alike, for developers of a backend.
//!
//! The contracts say what a store must do. Some checks and rules do not depend on how a store keeps
//! its data. This module contains them. The backends in [`memory`](crate::memory) and in the crate
//! `feedkit-store` use them.
//!
//! | module | used by |
//! |---|---|
//! | [`batch`] | [`History::claim`](crate::History::claim) and [`History::commit`](crate::History::commit) |
//! | [`alert_log`] | every call of an [`AlertLog`](crate::AlertLog) that takes a lease |
//! | [`verification`] | [`Inspect::verify`](crate::Inspect::verify) |

pub mod alert_log;
pub mod batch;
pub mod verification;
