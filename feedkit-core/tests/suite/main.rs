//! What needs more than one module, in one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod any_bytes;
mod conformance;
mod faults;
mod json_lines;
mod memory_history;
mod memory_log;
mod mutants;
mod pipeline;
mod supervisor;
mod traffic;
