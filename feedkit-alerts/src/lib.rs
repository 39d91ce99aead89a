//! Alert rules for [feedkit](feedkit_core), and the follower that runs each of them exactly once.
//!
//! - [`rules`] has the rules that come with feedkit: milestones of posts, spikes of likes, and
//!   users who act too fast.
//! - [`RuleSet`] combines rules, from code or from TOML, with rules of your own
//!   ([`AlertRule`](feedkit_core::AlertRule)).
//! - [`AlertFollower`] runs a set of rules over the journal and stores what they raise in an
//!   [`AlertLog`](feedkit_core::AlertLog).
//! - [`Relay`] publishes the stored alerts to the notifications topic.
//! - [`RuleRunner`] runs a set of rules over effects in memory, for tests.

mod align;
pub mod config;
mod engine;
mod follower;
mod lease;
mod options;
mod recovery;
mod relay;
pub mod rules;
mod ruleset;
mod runner;
mod signals;
mod step;

pub use config::{InvalidSetting, RulesConfig};
pub use follower::AlertFollower;
pub use options::AlertOptions;
pub use relay::{Relay, Relayed};
pub use ruleset::RuleSet;
pub use runner::RuleRunner;
pub use signals::Signals;
