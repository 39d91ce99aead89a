#![doc = include_str!("../README.md")]

mod gateway;
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
pub use parts::{OpenSource, Parts, Visibility};
pub use problem::Problem;
pub use reads::LocalCache;
pub use settings::Settings;
