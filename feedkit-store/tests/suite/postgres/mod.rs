//! PostgreSQL: on the server that `FEEDKIT_TEST_POSTGRES` names, and, where something is broken, on
//! servers of the tests' own.

mod alert_snapshot;
mod callers_time;
mod conformance;
mod crash;
mod erase;
mod histories;
mod history;
mod lease;
mod model;
mod notifier;
mod operation;
mod rebuild;
mod retention;
mod rollups;
mod support;
mod tls;
mod upgrade;
