//! Rules at work: their states, what they watch, and what a snapshot of them is.

mod bits;
mod context;
mod evictable;
mod exact;
mod hashed;
mod index;
mod rules;
mod running;
mod table;
mod watched;

pub use hashed::{HashedEffect, KeyHasher};
pub(crate) use rules::CHUNK;
pub use rules::{Raised, Rules, RulesSnapshot};
pub use running::{DynRule, Limits, RunningRule};

/// How many states are waited for at once.
const BLOCK: usize = 32;
