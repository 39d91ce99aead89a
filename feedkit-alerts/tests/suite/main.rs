//! Everything that is tested of the alerts from outside.

mod config;
mod milestone;
mod spike;
mod support;
mod user_rate;
