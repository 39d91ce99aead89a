//! Suites that test whether a backend keeps a contract: one suite for each trait.
//!
//! A suite is an async function. Its argument creates new, empty instances. The suite tests each
//! sentence of the trait's contract on a new instance, and panics with the sentence that does not
//! hold. If an instance needs anything else, such as a temporary directory, the caller keeps it.
//!
//! ```
//! use feedkit_core::memory::MemoryCounters;
//! use feedkit_core::testkit::conformance;
//! use feedkit_core::trending::Trending;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! conformance::counters(async || MemoryCounters::new(Trending::default())).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

mod access;
mod alert_log;
mod alert_rule;
mod alerts;
mod cache;
mod codec;
mod committed;
mod counters;
mod counts;
mod follower;
mod history;
mod inspect;
mod log;
mod outbox;
mod queries;
mod sentence;
mod sink;
mod source;
mod steps;
pub mod support;

pub use access::{authorizer, rate_limiter, token_verifier};
pub use alert_log::alert_log;
pub use alert_rule::alert_rule;
pub use alerts::alerts;
pub use cache::answer_cache;
pub use codec::codec;
pub use counters::counters;
pub use counts::{CountsHarness, counts};
pub use follower::{FollowerHarness, follower};
pub use history::history;
pub use inspect::inspect;
pub use log::{LogHarness, MemoryLogHarness, Named};
pub use outbox::outbox;
pub use queries::queries;
pub use sink::sink;
pub use source::source;
