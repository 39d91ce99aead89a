//! HTTP, WebSocket and server-sent events as routes that a program mounts, and a server that bounds connections.
//!
//! | module | what is in it |
//! |---|---|
//! | [`parts`] | what a gateway is made of, and what it asks of the rest |
//! | [`settings`] | its bounds, each with a default that is safe |
//! | [`problem`] | what is answered when something is wrong (RFC 9457) |
//! | [`jwt`] | tokens: believing them, and signing one's own |
//! | [`openapi`] | the API as an OpenAPI document |
//! | [`health`] | whether a gateway is fit to take requests, component by component |
//!
//! [`Gateway`] puts them together.

#[expect(clippy::module_inception, reason = "it holds the type of this name")]
mod gateway;
pub mod health;
mod http;
pub mod jwt;
mod live;
pub mod openapi;
mod page;
pub mod parts;
pub mod problem;
mod reads;
pub mod settings;
mod state;

pub use gateway::Gateway;
pub use health::{Component, Condition, Health};
pub use parts::{OpenSource, Parts, Visibility};
pub use problem::Problem;
pub use reads::LocalCache;
pub use settings::Settings;
