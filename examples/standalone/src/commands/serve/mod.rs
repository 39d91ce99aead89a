//! `serve`: HTTP, WebSocket, server-sent events and a page, on the engine.

mod check;
mod demo;
pub(super) mod gateway;
mod metrics;
mod parts;
pub(super) mod secret;
mod server;
mod welcome;

pub use server::serve;
