//! What tests of feedkit, of its backends and of what is built on it have in common: seeded traffic, a reference
//! model, and a clock that stands still.

mod clock;
pub mod conformance;
mod model;
pub mod traffic;

pub use clock::ManualClock;
pub use model::Model;
pub use traffic::{Farm, Label, Steady, Traffic, TrafficConfig, TrafficItem, Viral};
