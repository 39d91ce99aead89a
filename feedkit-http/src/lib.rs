#![doc = include_str!("../README.md")]

mod answer;
mod breaker;
mod gateway;
mod http;
mod in_time;
pub mod jwt;
mod live;
mod metrics;
pub mod openapi;
pub mod options;
mod page;
pub mod parts;
pub mod problem;
mod reads;
pub mod server;
mod state;
mod tokens;

pub use breaker::{CircuitBreaker, Permit};
pub use gateway::Gateway;
pub use options::{GatewayOptions, LiveOptions};
pub use parts::{Parts, Visibility};
pub use problem::Problem;
pub use reads::LocalCache;
