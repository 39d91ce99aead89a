//! Backends that keep everything in memory: for tests, trials, and as the plainest example of each contract.

mod alert_log;
mod counters;
mod history;
mod log;

pub use alert_log::MemoryAlertLog;
pub use counters::MemoryCounters;
pub use history::MemoryHistory;
pub use log::{MemoryLog, MemoryReader};
