//! Decoding the records of a log into events, and encoding events as records.

mod contract;
mod fault;
mod json;
mod policy;

pub use contract::{Codec, Place};
pub use fault::{InvalidEvent, InvalidReason};
pub use json::JsonCodec;
pub use policy::{Defaults, EventPolicy};
