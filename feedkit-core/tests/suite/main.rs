//! What needs more than one module, in one binary.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod conformance;
mod json_lines;
mod memory_history;
mod pipeline;
mod traffic;
