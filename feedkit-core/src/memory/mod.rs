//! Backends that store everything in memory. They are for tests and trials, and are the simplest
//! examples of the contracts.

mod alert_log;
mod counters;
mod history;
mod log;

pub use alert_log::MemoryAlertLog;
pub use counters::MemoryCounters;
pub use history::MemoryHistory;
pub use log::{MemoryLog, MemoryReader};
