//! Tools for tests of feedkit, of backends, and of programs that use feedkit: conformance suites, a
//! reference model, injected faults, and a clock that stands still.

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
