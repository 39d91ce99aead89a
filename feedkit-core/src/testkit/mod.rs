//! What tests of feedkit, of its backends and of what is built on it have in common: seeded traffic, a reference
//! model, and a clock that stands still.

mod clock;
pub mod conformance;
pub mod faults;
mod model;
pub mod mutants;
mod tally;
pub mod traffic;

pub use clock::ManualClock;
pub use model::{Model, ModelPost};
pub use tally::Tally;
pub use traffic::{Farm, Label, Steady, Traffic, TrafficConfig, TrafficItem, Viral};
