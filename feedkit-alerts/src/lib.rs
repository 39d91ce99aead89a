//! Alert rules for [feedkit](feedkit_core), and what runs them exactly once.
//!
//! - [`rules`]: milestones of posts, like farms, users who are too fast; [`RuleSet`] puts them together, from code
//!   or from TOML, with rules of one's own ([`AlertRule`](feedkit_core::AlertRule)).
//! - [`AlertFollower`]: runs them over the journal, and keeps what they raise in an
//!   [`AlertLog`](feedkit_core::AlertLog).
//! - [`Relay`]: publishes what was kept to the notifications' log.
//! - [`engine`]: the rules at work, without any I/O.

mod align;
pub mod config;
pub mod engine;
mod follower;
mod lease;
mod options;
mod recovery;
mod relay;
pub mod rules;
mod ruleset;
mod step;

pub use config::{InvalidSetting, RulesConfig};
pub use follower::AlertFollower;
pub use options::{AlertOptions, Signals};
pub use relay::{Relay, Relayed};
pub use ruleset::RuleSet;
