//! The rules at work: their states, the keys that they watch, and their snapshots.
//!
//! Nothing in here does I/O or reads a clock.

mod bits;
mod context;
mod encoding;
mod evictable;
mod exact;
mod hashed;
mod index;
mod rules;
mod running;
mod slab;
mod snapshot;
mod table;
mod watched;

pub(crate) use hashed::HashedEffect;
pub(crate) use rules::{CHUNK, Rules};
pub(crate) use running::{Limits, StartRule};

/// Number of states whose memory is fetched at once.
const BLOCK: usize = 32;
