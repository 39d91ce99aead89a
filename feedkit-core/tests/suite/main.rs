//! What needs more than one module, in one binary.
#![allow(missing_docs, reason = "tests")]

mod traffic;
