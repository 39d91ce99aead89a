//! A generator of made-up traffic: what the users of a feed do, and what goes wrong on the way.
//!
//! The same [`TrafficOptions`] always give the same lines, so that a demonstration, a test or a benchmark can be
//! repeated. Besides ordinary events the traffic contains repeats and malformed lines, and on request posts that go
//! viral ([`Viral`]) and groups of accounts that like one post together ([`Farm`]).

mod arrivals;
mod generator;
mod line;
mod options;

pub use generator::{Label, Traffic, TrafficItem};
pub use options::{Farm, Steady, TrafficOptions, Viral};
