//! Alert rules for [feedkit](feedkit_core).
//!
//! - [`rules`]: milestones of posts, like farms, users who are too fast; [`RuleSet`] puts them together, from code
//!   or from TOML, with rules of one's own ([`AlertRule`](feedkit_core::AlertRule)).
//! - [`engine`]: the rules at work, without any I/O.

pub mod config;
pub mod engine;
pub mod rules;
mod ruleset;

pub use config::RulesConfig;
pub use ruleset::RuleSet;
