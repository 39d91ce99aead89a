//! What tests of feedkit, of its backends and of what is built on it have in common: seeded traffic, a reference
//! model, and a clock that stands still.

mod clock;
pub mod conformance;
pub mod faults;
mod hooked;
mod model;
pub mod split;
mod tally;

pub use clock::ManualClock;
pub use hooked::{Hooked, Hooks};
pub use model::{Model, ModelPost};
pub use tally::Tally;
