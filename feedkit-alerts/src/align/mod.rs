//! Orders the entries of all partitions by event time.

mod alignment;
mod portion;
mod queue;
#[cfg(test)]
mod tests;

pub(crate) use alignment::{Alignment, Reach};
