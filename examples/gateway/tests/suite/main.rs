//! The gateway, together with the processor, on the real services: each a process, as they are deployed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod after;
mod away;
#[allow(dead_code, reason = "shared with the tests of feedkit-kafka")]
#[path = "../../../../feedkit-kafka/tests/suite/broker.rs"]
mod broker;
#[allow(dead_code, reason = "shared with the tests of feedkit")]
#[path = "../../../standalone/tests/suite/clients.rs"]
mod clients;
mod commands;
mod door;
mod http;
#[allow(dead_code, reason = "shared with the tests of feedkit-store")]
#[path = "../../../../feedkit-store/tests/suite/postgres/instance.rs"]
mod instance;
mod jwks;
mod kill;
mod notify;
mod process;
mod redis_server;
mod shared;
#[allow(dead_code, reason = "shared with the tests of feedkit")]
#[path = "../../../standalone/tests/suite/socket.rs"]
mod socket;
mod support;
mod tls;
mod world;
