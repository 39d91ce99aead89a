//! HTTP, WebSocket and server-sent events as routes that a program mounts, and a server that bounds connections.
//!
//! | module | what is in it |
//! |---|---|
//! | [`parts`] | what a gateway is made of, and what it asks of the rest |
//! | [`settings`] | its bounds, each with a default that is safe |
//! | [`problem`] | what is answered when something is wrong (RFC 9457) |
//! | [`health`] | whether a gateway is fit to take requests, component by component |
//!
//! [`Gateway`] puts them together.

mod gateway;
pub mod health;
mod page;
pub mod parts;
pub mod problem;
pub mod settings;
mod state;

pub use gateway::Gateway;
pub use health::{Component, Condition, Health};
pub use parts::{OpenSource, Parts, Visibility};
pub use problem::Problem;
pub use settings::Settings;
