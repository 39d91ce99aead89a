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
//!
//! Whatever is wrong is answered as a [`Problem`], also paths and methods that are not there, and endpoints that
//! panic; only what is no HTTP at all gets a bare 400 or 431. Every answer bears `X-Request-Id`, which is the client's
//! own if it sent a sane one. One line a request goes to the target `feedkit::access` of `tracing`: method, route,
//! status, duration, bytes, request id, client and user; no token, no query, no text.

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
