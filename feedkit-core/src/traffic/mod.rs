//! A generator of artificial traffic: events of the users of a feed, with typical faults.
//!
//! The same [`TrafficOptions`] always give the same lines, so that a demonstration, a test or a
//! benchmark can be repeated. Besides ordinary events the traffic contains repeats and malformed
//! lines. Options add posts that go viral ([`Viral`]) and groups of accounts that like one post
//! together ([`Farm`]).

mod arrivals;
mod generator;
mod line;
mod options;

pub use generator::{Label, Traffic, TrafficItem};
pub use options::{Farm, Steady, TrafficOptions, Viral};
