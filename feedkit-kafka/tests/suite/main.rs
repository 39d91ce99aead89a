//! Tests of this crate on a real Apache Kafka.
//!
//! `FEEDKIT_TEST_KAFKA` is the address of a broker; `scripts/services up --only kafka` starts one.
//! Tests that stop a broker, or need one with its own configuration, start it from the jars in
//! `FEEDKIT_TEST_KAFKA_JARS`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "all of this is tests")]
#![allow(unreachable_pub, reason = "nothing here is a library")]

mod conformance;
mod ends;
mod growing;
mod hostile;
mod leave_group;
mod lost_log;
mod restart;
mod secured;
mod stats;
mod support;
mod throughput;
mod zombie;
