//! The embedded backend: its directory, its log, and faults of the disk.

mod alert_log;
mod conformance;
mod counts;
mod directory;
mod disk_full;
mod histories;
mod history;
mod log;
mod model;
mod read_only;
mod retention;
mod support;
mod torn_wal;
mod upgrade;
