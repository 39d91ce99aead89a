//! Backends with one deliberate fault each, and tests that the conformance suites reject them.
//!
//! Each mutant wraps a backend in memory, and behaves like it except for its fault.

mod access;
mod alert_log;
mod alert_rule;
mod cache;
mod counters;
mod faults;
mod follower;
mod history;
mod queries;
mod rejected;
mod sink;
mod source;
