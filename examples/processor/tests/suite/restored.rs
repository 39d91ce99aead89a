//! restored
